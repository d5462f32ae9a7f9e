r"""Word errors of a long transcript by their distance from a seam of the encoder.

    python -m eval.long_form --minutes 60 --checkpoint whisper-base-streaming --source-language es \
        --task asr --output runs/hour
    python -m eval.seams runs/hour --run whisper-base-streaming-asr

Whisper's positions end, so its streaming encoder goes over into a new window every so often
(``window_stride`` of its configuration). Where that is, nothing should be heard worse than
elsewhere. A word of the reference is said where it stands in its sentence, counted in characters.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jiwer

from echostream.config_whisper import WhisperEncoderConfig
from echostream.constants import FRAME_SHIFT_SAMPLES, SAMPLE_RATE, SUBSAMPLING
from echostream.errors import ConfigError
from echostream.locations import find_checkpoint
from echostream.model.checkpoint import load_config_json
from echostream.scoring.log import read_log
from echostream.scoring.quality import prepared
from echostream.scoring.sentences import Sentence, read_sentences
from eval.command import aligned, ended, parser_of
from eval.long_form import LOG, SEGMENTS, TEXTS, as_scored

AS_SCORED = as_scored("asr")

SECONDS = 3
"""On either side of a seam that have a line of their own."""


def word_times(sentences: Sequence[Sentence]) -> list[tuple[str, float]]:
    """The words of the sentences as they are scored, and when each is said, s."""
    found = []
    texts = prepared([sentence.text for sentence in sentences], AS_SCORED)
    for sentence, text in zip(sentences, texts, strict=True):
        at = 0
        for word in text.split():
            middle = (at + len(word) / 2) / len(text)
            found.append((word, (sentence.offset + middle * sentence.duration) / 1000))
            at += len(word) + 1
    return found


def errors_by_word(reference: Sequence[str], said: Sequence[str]) -> list[int]:
    """Errors of each word of the reference; one that was inserted counts for the word before it."""
    errors = [0] * len(reference)
    found = jiwer.process_words(" ".join(reference), " ".join(said))
    for part in found.alignments[0]:
        if part.type == "insert":
            errors[max(0, part.ref_start_idx - 1)] += part.hyp_end_idx - part.hyp_start_idx
        elif part.type != "equal":
            for place in range(part.ref_start_idx, part.ref_end_idx):
                errors[place] += 1
    return errors


def by_distance(
    times: Sequence[float], errors: Sequence[int], first: float, every: float
) -> dict[str, tuple[int, int]]:
    """Words and errors by the second before or after the nearest seam.

    Args:
        times: of the words, s.
        errors: of the words.
        first: time of the first seam, s.
        every: from one to the next, s.
    """
    found = {f"{second:+d} to {second + 1:+d} s": (0, 0) for second in range(-SECONDS, SECONDS)}
    found["elsewhere"] = (0, 0)
    for time, wrong in zip(times, errors, strict=True):
        seam = first + every * max(0, round((time - first) / every))
        second = int((time - seam) // 1)
        name = f"{second:+d} to {second + 1:+d} s"
        name = name if name in found else "elsewhere"
        words, so_far = found[name]
        found[name] = (words + 1, so_far + wrong)
    return found


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("seams", __doc__)
    parser.add_argument("folder", type=Path, help="--output of eval.long_form")
    parser.add_argument("--run", required=True, metavar="NAME", help="a run with --task asr in it")
    parser.add_argument(
        "--checkpoint", default="whisper-base-streaming", help="that was heard with (%(default)s)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    args = build_parser().parse_args(argv)
    return ended("seams", lambda: print(table(args.folder, args.run, args.checkpoint)))


def table(folder: Path, run: str, checkpoint: str) -> str:
    """A line for each second around a seam, and one for the rest."""
    encoder = load_config_json(find_checkpoint(checkpoint)).encoder
    if not isinstance(encoder, WhisperEncoderConfig):
        raise ConfigError(
            f"the encoder of {checkpoint} is {encoder.name!r}, which has no seams; expected whisper"
        )
    sentences = read_sentences(folder / SEGMENTS, folder / TEXTS["asr"])
    (instance,) = read_log(folder / run / LOG).instances
    words = word_times(sentences)
    said = prepared([instance.prediction], AS_SCORED)[0].split()
    errors = errors_by_word([word for word, _ in words], said)
    times = [time for _, time in words]
    frame = FRAME_SHIFT_SAMPLES * SUBSAMPLING / SAMPLE_RATE
    every = frame * encoder.window_stride
    found = by_distance(times, errors, every + frame * encoder.window_overlap, every)
    rows = [
        [name, str(count), str(wrong), f"{100 * wrong / count:.1f}" if count else "-"]
        for name, (count, wrong) in found.items()
    ]
    return aligned(("from a seam", "words", "errors", "WER"), rows)


if __name__ == "__main__":
    sys.exit(main())
