"""From a run's fairseq checkpoints to a folder that everything else loads."""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path

import torch

from echostream.errors import CheckpointError, EchoStreamError
from echostream.model import save_model
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY
from echostream.training.checkpoints import (
    FAIRSEQ,
    averaged_model,
    last_checkpoints,
    read_checkpoint,
)
from echostream.training.model_card import write_card
from echostream.training.plots import draw_plots

logger = logging.getLogger(__name__)

TYPES = {"float16": torch.float16, "float32": torch.float32}


def export(
    run: Path,
    output: Path | None = None,
    *,
    average: int = 1,
    update: int | None = None,
    running: bool = True,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write weights, configuration, vocabularies, curves and a model card.

    Args:
        run: folder of the run; fairseq's checkpoints are in its ``fairseq`` or in it.
        output: where to; ``None`` for the run's folder itself.
        average: how many of the last checkpoints to average; 1 for the last alone.
        update: of the last checkpoint to take; ``None`` for the last there is.
        running: of each checkpoint take the running average of the weights.
        dtype: of the stored weights.

    Raises:
        CheckpointError: if there are not so many checkpoints, or they cannot be read.
    """
    output = output or run
    folder = run / FAIRSEQ if (run / FAIRSEQ).is_dir() else run
    paths = last_checkpoints(folder, average, update)
    if len(paths) < average:
        raise CheckpointError(
            f"{folder} has checkpoints of {len(paths)} updates; expected at least the {average} to "
            "average: lower --average"
        )
    model = averaged_model(paths, running=running)
    output.mkdir(parents=True, exist_ok=True)
    save_model(model, output, dtype=dtype)
    for name in (SOURCE_VOCABULARY, TARGET_VOCABULARY):
        if output.resolve() != run.resolve():
            shutil.copyfile(run / name, output / name)
    draw_plots(run, output)
    write_card(run, output, read_checkpoint(paths[-1]), paths, running=running)
    logger.info("exported %s to %s", ", ".join(path.name for path in paths), output)
    return output


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream checkpoint``."""
    parser = argparse.ArgumentParser(
        prog="echostream checkpoint",
        description="Make a checkpoint folder of a training run: safetensors weights, config.json, "
        "vocabularies, curves, model card.",
    )
    parser.add_argument("run", type=Path, help="folder of the run, such as runs/tiny")
    parser.add_argument("--output", type=Path, help="where to write (the run's folder)")
    parser.add_argument(
        "--average", type=int, default=1, help="last checkpoints to average (%(default)s)"
    )
    parser.add_argument(
        "--update",
        type=int,
        help="of the last checkpoint to take, one that is still there (the last of all)",
    )
    parser.add_argument(
        "--last-weights",
        action="store_true",
        help="take the weights after the last update, not their running average",
    )
    parser.add_argument("--dtype", choices=TYPES, default="float16", help="(%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 after a one-line error."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        export(
            args.run,
            args.output,
            average=max(1, args.average),
            update=args.update,
            running=not args.last_weights,
            dtype=TYPES[args.dtype],
        )
    except EchoStreamError as error:
        logger.error("error: %s", error)
        return 1
    return 0
