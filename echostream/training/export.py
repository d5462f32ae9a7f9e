"""From a run's fairseq checkpoints to a folder that everything else loads."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch

from echostream.errors import CheckpointError
from echostream.model import save_model
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY
from echostream.training.fairseq_checkpoints import (
    FAIRSEQ,
    averaged_model,
    last_checkpoints,
    read_checkpoint,
)
from echostream.training.model_card import write_card

logger = logging.getLogger(__name__)


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
    states = [read_checkpoint(path) for path in paths]
    output.mkdir(parents=True, exist_ok=True)
    save_model(averaged_model(states, running=running), output, dtype=dtype)
    if output.resolve() != run.resolve():
        for name in (SOURCE_VOCABULARY, TARGET_VOCABULARY):
            shutil.copyfile(run / name, output / name)
    write_card(run, output, states[-1], paths, running=running)
    logger.info("exported %s to %s", ", ".join(path.name for path in paths), output)
    return output
