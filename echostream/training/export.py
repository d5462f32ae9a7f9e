"""From a run's fairseq checkpoints to a folder that everything else loads, with card and curves."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from echostream.errors import CheckpointError
from echostream.model import SpeechModel, save_model
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY
from echostream.training.fairseq_checkpoints import (
    FAIRSEQ,
    TrainingState,
    averaged_model,
    last_checkpoints,
    read_checkpoint,
)
from echostream.training.run_record import Record, read_history, read_record
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

CARD, LOSSES, VARIANCE = "README.md", "losses.svg", "variance.svg"


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

    Raises `CheckpointError` if there are not so many checkpoints, or they cannot be read.
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


def write_card(
    run: Path, output: Path, state: TrainingState, paths: Sequence[Path], *, running: bool
) -> None:
    """Write the curves and ``README.md`` of a checkpoint made of the files ``paths``.

    Figures are those of the run's history: the development part, greedy search; a table of the
    test part is for ``python -m eval.results`` to print. ``running`` says that each file's running
    average of the weights was taken.
    """
    config = state.config
    model = SpeechModel(config)
    encoder = model.encoder
    languages = config.source_language, config.target_language
    weights = "running average of the weights" if running else "weights after the last update"
    many = f", mean of the last {len(paths)} checkpoints" if len(paths) > 1 else ""
    text = f"""---
language: [{", ".join(languages)}]
library_name: echostream
license: apache-2.0
---

# {config.encoder.name}, {" to ".join(languages)}

- **Model:** {config.encoder.name}, {model.num_parameters / 1e6:.2f}M parameters, CTC heads for \
transcript ({config.asr_vocab_size} SentencePiece units) and translation ({config.st_vocab_size}).
- **Chunk:** {encoder.init_state(1).chunk_size * encoder.frame_ms} ms as configured; trained for \
several chunk sizes.
- **Weights:** {weights} after {state.updates} updates (epoch {state.epoch}){many}; \
{state.seconds / 3600:.2f} hours of wall time.
- **Text:** lower case, no punctuation.
"""
    record = read_record(run)
    if record is not None:
        text += "\n## Data\n\n| corpus | recordings | hours |\n|---|---|---|\n"
        text += "".join(f"| {c} | {n} | {s / 3600:.2f} |\n" for c, n, s in record.train)
        text += "\n## Command\n\n"
        for updates, command in record.commands:
            text += f"\nand from update {updates} on\n\n" if updates else ""
            text += f"    {command}\n"
        text += f"\nSeed {record.seed}; {record.versions}.\n"
    history = read_history(run, "dev")
    if history:
        dev = {"asr_ctc_loss": float("nan"), "st_ctc_loss": float("nan"), **history[-1]}
        text += f"""
## Quality

Development part, greedy search on whole recordings, at the configured chunk:

    WER {dev["wer"]:.1f} %   BLEU {dev["bleu"]:.2f}   ASR CTC loss {dev["asr_ctc_loss"]:.3f}   \
ST CTC loss {dev["st_ctc_loss"]:.3f}

Variance of the encoder's output, as a share of its mean square: {dev["frame_variance"]:.3f} over \
frames, {dev["utterance_variance"]:.3f} over utterances; {dev["dimensions"]:.0f} of \
{encoder.output_dim} dimensions are in use.
"""
    if draw_plots(run, output):
        text += f"\n## Course of the run\n\n![losses]({LOSSES})\n\n![variance]({VARIANCE})\n"
    write_whole(output / CARD, text)


def draw_plots(run: Path, output: Path) -> list[Path]:
    """Draw ``losses.svg`` and ``variance.svg`` from the run's history.

    Nothing is drawn, with a warning, where matplotlib is not installed or nothing happened yet.
    """
    train, dev = read_history(run, "train"), read_history(run, "dev")
    if not train and not dev:
        logger.warning("%s has no history yet; no curves are drawn", run)
        return []
    try:
        import matplotlib
    except ImportError:
        logger.warning("matplotlib is not installed; no curves are drawn")
        return []
    matplotlib.use("Agg")
    losses = [
        ("ASR CTC, training", train, "asr_ctc_loss", "C0-"),
        ("ST CTC, training", train, "st_ctc_loss", "C1-"),
        ("ASR CTC, development", dev, "asr_ctc_loss", "C0o--"),
        ("ST CTC, development", dev, "st_ctc_loss", "C1o--"),
    ]
    variance = [
        ("over frames", dev, "frame_variance", "C0o-"),
        ("over utterances", dev, "utterance_variance", "C1o-"),
    ]
    _draw(output / LOSSES, losses, "nats per unit")
    _draw(output / VARIANCE, variance, "share of the output's mean square")
    return [output / LOSSES, output / VARIANCE]


def _draw(path: Path, curves: Sequence[tuple[str, list[Record], str, str]], label: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, records, key, style in curves:
        points = [(record["update"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=3)
    axes.set_xlabel("update")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    axes.legend()
    # Without the date, the same run gives the same file.
    figure.savefig(path, metadata={"Date": None})
