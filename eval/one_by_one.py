r"""The sentences of a long recording, each heard by itself: what hearing them in one piece costs.

    python -m eval.long_form --minutes 60 --checkpoint whisper-base-streaming --source-language es \
        --task asr --output runs/hour
    python -m eval.one_by_one runs/hour --run whisper-base-streaming-asr

They are cut from the recording, so levels and noise are the same, and have a session of their own
with the options of the run, in which --silence-s may come first. An interrupted run goes on.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from echostream.errors import DataError
from echostream.scoring.log import read_log
from echostream.scoring.long_form import score_long
from echostream.scoring.quality import score_quality
from echostream.scoring.sentences import Sentence, read_sentences
from echostream.session import Session, SystemOptions, Translator, build_translator
from echostream.session.options import read_options
from eval.command import aligned, ended, parser_of
from eval.long_form import DETAILS, LOG, PAUSE_S, RECORDING, SEGMENTS, TEXTS, as_scored
from eval.recordings import HISS

_MARGIN_MS = 1000 * PAUSE_S[0] / 2
"""Before and after a sentence, so that nothing of its neighbours is heard."""


def hear_alone(
    translator: Translator,
    recording: Path,
    sentences: list[Sentence],
    log: Path,
    silence_s: float = 0.0,
) -> list[str]:
    """What is written for each sentence; ``log`` has a line of JSON for those that were heard."""
    known = log.read_text(encoding="utf-8") if log.exists() else ""
    # An interrupted run may leave half a line.
    known = known[: known.rfind("\n") + 1]
    found = [json.loads(line) for line in known.splitlines()]
    with log.open("w", encoding="utf-8") as lines, soundfile.SoundFile(recording) as file:
        lines.write(known)
        for sentence in tqdm(sentences[len(found) :], unit="sentence", disable=None):
            begin, end = sentence.offset - _MARGIN_MS, sentence.end + _MARGIN_MS
            begin, end = (round(max(0.0, at) * file.samplerate / 1000) for at in (begin, end))
            file.seek(begin)
            silence = np.random.default_rng(0).normal(0, HISS, int(silence_s * file.samplerate))
            samples = np.append(silence, file.read(end - begin)).astype(np.float32)
            words = Session(translator).push(samples, file.samplerate, is_final=True).words
            found.append(translator.writer.separator.join(words))
            lines.write(json.dumps(found[-1], ensure_ascii=False) + "\n")
            lines.flush()
    return found


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("one_by_one", __doc__)
    parser.add_argument("folder", type=Path, help="--output of eval.long_form")
    parser.add_argument("--run", required=True, metavar="NAME", help="a run in it")
    parser.add_argument("--silence-s", type=float, default=0.0, help="before each (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    args = build_parser().parse_args(argv)
    return ended("one_by_one", lambda: print(table(args.folder, args.run, args.silence_s)))


def table(folder: Path, run: str, silence_s: float = 0.0) -> str:
    """Quality of the sentences in one piece and one by one."""
    details = folder / run / DETAILS
    if not details.exists():
        raise DataError(f"{details} is not there; expected a finished run of eval.long_form")
    options = read_options(SystemOptions, json.loads(details.read_text("utf-8"))["options"])
    sentences = read_sentences(folder / SEGMENTS, folder / TEXTS[options.task])
    own = folder / run / f"one_by_one{f'_after_{silence_s:g}' if silence_s else ''}.jsonl"
    alone = hear_alone(build_translator(options), folder / RECORDING, sentences, own, silence_s)
    quality = as_scored(options.task)
    whole = score_long(read_log(folder / run / LOG).instances, sentences, quality).values
    scores = score_quality(alone, [each.text for each in sentences], quality)
    rows = [
        ["in one piece", *(f"{whole[each.name]:.1f}" for each in scores)],
        ["one by one", *(f"{each.value:.1f}" for each in scores)],
    ]
    return aligned((f"{len(sentences)} sentences", *(each.name for each in scores)), rows)


if __name__ == "__main__":
    sys.exit(main())
