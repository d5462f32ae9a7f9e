"""The card of a checkpoint: what it is, what it learned from, what it reached, all from the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echostream.model import SpeechModel
from echostream.training.curves import LOSSES, VARIANCE
from echostream.training.fairseq_checkpoints import TrainingState
from echostream.training.history import HISTORY, Record, read
from echostream.training.run_record import RunRecord, read_record
from echostream.whole_file import write_whole

CARD = "README.md"


def write_card(
    run: Path, output: Path, state: TrainingState, paths: Sequence[Path], *, running: bool
) -> Path:
    """Write ``README.md``. Figures are those of the run's history: the development part, greedy
    search; a table of the test part is for ``python -m eval.results`` to print."""
    record = read_record(run)
    dev = read(run / HISTORY, "dev")
    text = card(state, paths, record, dev[-1] if dev else None, running=running)
    if (output / LOSSES).exists():
        text += f"\n## Course of the run\n\n![losses]({LOSSES})\n\n![variance]({VARIANCE})\n"
    write_whole(output / CARD, text)
    return output / CARD


def card(
    state: TrainingState,
    paths: Sequence[Path],
    record: RunRecord | None,
    dev: Record | None,
    *,
    running: bool,
) -> str:
    """The text of the card."""
    config = state.config
    model = SpeechModel(config)
    encoder = model.encoder
    millions = model.num_parameters / 1e6
    chunk_ms = encoder.init_state(1).chunk_size * encoder.frame_ms
    weights = "running average of the weights" if running else "weights after the last update"
    many = f", mean of the last {len(paths)} checkpoints" if len(paths) > 1 else ""
    lines = [
        "---",
        f"language: [{config.source_language}, {config.target_language}]",
        "library_name: echostream",
        "license: apache-2.0",
        "---",
        "",
        f"# {config.encoder.name}, {config.source_language} to {config.target_language}",
        "",
        f"- **Model:** {config.encoder.name}, {millions:.2f}M parameters, CTC heads for transcript "
        f"({config.asr_vocab_size} SentencePiece units) and translation ({config.st_vocab_size}).",
        f"- **Chunk:** {chunk_ms} ms as configured; trained for several chunk sizes.",
        f"- **Weights:** {weights} after {state.updates} updates (epoch {state.epoch}){many}; "
        f"{state.seconds / 3600:.2f} hours of wall time.",
        "- **Text:** lower case, no punctuation.",
    ]
    if record is not None:
        lines += ["", "## Data", "", "| corpus | recordings | hours |", "|---|---|---|"]
        lines += [f"| {c} | {n} | {s / 3600:.2f} |" for c, n, s in record.train]
        lines += ["", "## Command", ""]
        for number, (updates, command) in enumerate(record.commands):
            lines += ["", f"and from update {updates} on", ""] if number else []
            lines += [f"    {command}"]
        lines += [""]
        lines += [f"Seed {record.seed}; {record.versions}."]
    if dev is not None:
        lines += [
            "",
            "## Quality",
            "",
            "Development part, greedy search on whole recordings, at the configured chunk:",
            "",
            f"    WER {dev['wer']:.1f} %   BLEU {dev['bleu']:.2f}   ASR CTC loss "
            f"{dev.get('asr_ctc_loss', float('nan')):.3f}   ST CTC loss "
            f"{dev.get('st_ctc_loss', float('nan')):.3f}",
            "",
            f"Variance of the encoder's output, as a share of its mean square: "
            f"{dev['frame_variance']:.3f} over frames, {dev['utterance_variance']:.3f} over "
            f"utterances; {dev['dimensions']:.0f} of {encoder.output_dim} dimensions are in use.",
        ]
    return "\n".join(lines) + "\n"
