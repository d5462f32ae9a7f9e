r"""Long recordings made of a corpus, and what a checkpoint makes of one in one piece.

    echostream data es-en
    python -m eval.long_form --minutes 60 --output runs/hour
    python -m eval.long_form --minutes 60 --output runs/hour --checkpoint whisper-base-streaming \
        --source-language es --target-language en

Speakers take turns of a few sentences, at levels of their own, with pauses in and between turns;
over a part of a third of the turns (``--noise``) there is noise. ``recording.flac`` has beside it
the true times of its sentences (``segments.yaml``) and their texts. It is heard chunk by chunk;
``metrics.jsonl`` in the folder of the run is a log as simulstream writes it, with CPU time and
memory of each chunk. An interrupted run goes on where its last saved stream is. The report has
quality and latency by sentences, and time and memory for each tenth of the recording: what grows
with the audio shows there (memory only in a run that was not interrupted).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from echostream.audio import read_audio
from echostream.audio.files import stream_audio
from echostream.audio.samples import Samples
from echostream.commands.system import add_system_arguments, options_of, translator_of
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.machine import resident_bytes
from echostream.scoring.folder import format_scores
from echostream.scoring.log import read_log
from echostream.scoring.long_form import score_long
from echostream.scoring.quality import QualityOptions
from echostream.scoring.scores import Scores
from echostream.scoring.sentences import Sentence, read_sentences, write_sentences
from echostream.session import Session, Translator
from echostream.session.saved_stream import restore_stream, save_stream
from echostream.shipped import SHIPPED_CHECKPOINT
from echostream.training.augment import add_noise, set_level, within_scale
from echostream.training.corpus.manifest import ManifestRow
from echostream.whole_file import replacing, write_whole
from eval.command import aligned, ended, heading, parser_of, write_results
from eval.recordings import HISS, add_corpus_part, read_corpus_part

RECORDING, SEGMENTS = "recording.flac", "segments.yaml"
LOG, DETAILS, STREAM = "metrics.jsonl", "long_form.json", "stream.saved"
TEXTS = {"asr": "transcripts.txt", "s2tt": "translations.txt"}

LONGEST_MINUTES = 150.0
PAUSE_S = (0.15, 1.0)
"""Between the sentences of a turn."""
CHANGE_S = (0.3, 3.0)
"""Before another speaker."""
MOST_SENTENCES = 5
LEVEL_DB = (-32.0, -18.0)
SNR_DB = (5.0, 25.0)
SAVED_EVERY_S = 120.0


def turns(
    rows: Sequence[ManifestRow], data: Path, noise: float, chance: np.random.Generator
) -> Iterator[tuple[Samples, list[tuple[int, int, ManifestRow]]]]:
    """Endless turns: samples ``[n]``, and where each sentence begins and ends in them; a share
    ``noise`` of the turns has noise over a part."""
    own: dict[str, list[ManifestRow]] = {}
    for row in rows:
        own.setdefault(row.speaker, []).append(row)
    waiting: dict[str, list[ManifestRow]] = {speaker: [] for speaker in own}
    last = ""
    while True:
        others = [speaker for speaker in own if speaker != last] or list(own)
        shares = np.array([len(own[speaker]) for speaker in others], float)
        last = str(chance.choice(others, p=shares / shares.sum()))
        level = chance.uniform(*LEVEL_DB)
        parts, said = [_silence(CHANGE_S, chance)], []
        for _ in range(int(chance.integers(1, MOST_SENTENCES + 1))):
            if not waiting[last]:
                waiting[last] = [own[last][place] for place in chance.permutation(len(own[last]))]
            row = waiting[last].pop()
            begin = sum(map(len, parts))
            parts.append(set_level(read_audio(data / row.audio)[0], level))
            said.append((begin, begin + len(parts[-1]), row))
            parts.append(_silence(PAUSE_S, chance))
        samples = np.concatenate(parts)
        if chance.random() < noise:
            start, end = sorted(chance.integers(len(samples), size=2))
            colour, place = float(chance.integers(3)), int(chance.integers(2**31))
            noisy = add_noise(samples, chance.uniform(*SNR_DB), colour, place)
            samples[start:end] = noisy[start:end]
        samples += chance.normal(0.0, HISS, len(samples)).astype(np.float32)
        yield within_scale(samples), said


def _silence(seconds: tuple[float, float], chance: np.random.Generator) -> Samples:
    return np.zeros(int(chance.uniform(*seconds) * SAMPLE_RATE), np.float32)


def make_recording(
    rows: Sequence[ManifestRow],
    data: Path,
    folder: Path,
    *,
    seconds: float,
    noise: float,
    seed: int,
) -> None:
    """Write a recording of at least ``seconds`` and its sentences; what is there already is kept.

    Raises:
        DataError: if the folder holds a recording that was made otherwise.
    """
    about = json.dumps({"data": data.resolve().name, "rows": len(rows), "seconds": seconds,
        "noise": noise, "seed": seed})  # fmt: skip
    path, settings = folder / RECORDING, folder / "recording.json"
    if path.exists():
        found = settings.read_text(encoding="utf-8") if settings.exists() else "nothing"
        if found != about:
            raise DataError(f"{path} was made of {found}; expected {about}; give another --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    sentences: dict[str, list[Sentence]] = {task: [] for task in TEXTS}
    position, chance = 0, np.random.default_rng(seed)
    with replacing(path) as part, tqdm(total=round(seconds), unit="s", disable=None) as bar:
        with soundfile.SoundFile(part, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
            for samples, said in turns(rows, data, noise, chance):
                file.write(samples)
                for begin, end, row in said:
                    at = 1000 * (position + begin) / SAMPLE_RATE
                    length = 1000 * (end - begin) / SAMPLE_RATE
                    for task, text in (("asr", row.src_text), ("s2tt", row.tgt_text)):
                        sentences[task].append(Sentence(RECORDING, at, length, text))
                position += len(samples)
                bar.update(position // SAMPLE_RATE - bar.n)
                if position >= seconds * SAMPLE_RATE:
                    break
        for task, name in TEXTS.items():
            write_sentences(sentences[task], folder / SEGMENTS, folder / name)
        write_whole(settings, about)


def hear(translator: Translator, recording: Path, run: Path) -> None:
    """Hear it chunk by chunk and write the log into ``run``; go on from a saved stream."""
    log, saved = run / LOG, run / STREAM
    run.mkdir(parents=True, exist_ok=True)
    session, done, size = Session(translator), 0, 0
    if saved.exists():
        head, _, state = saved.read_bytes().partition(b"\n")
        done, size = json.loads(head)
        session = Session(translator, state=restore_stream(translator, state))
    with log.open("r+b" if size else "wb") as file:
        file.truncate(size)
        file.seek(size)
        if not size:
            file.write(_line({"metadata": {"wav_name": RECORDING}}))
        length = soundfile.info(recording).duration
        latest = time.monotonic()
        with tqdm(total=round(length), unit="s", disable=None, desc="heard") as bar:
            listener = translator.listener
            chunks = stream_audio(recording, listener.chunk_ms, lead_ms=listener.right_context_ms)
            for number, (samples, rate) in enumerate(chunks):
                if number < done:
                    continue
                file.write(_heard(session, samples, rate))
                bar.update(round(session.state.listener.audio_ms / 1000) - bar.n)
                if time.monotonic() - latest > SAVED_EVERY_S:
                    file.flush()
                    head = json.dumps([number + 1, file.tell()]).encode() + b"\n"
                    with replacing(saved) as part:
                        part.write_bytes(head + save_stream(translator, session.state))
                    latest = time.monotonic()
            file.write(_heard(session, (), None, is_final=True))
    saved.unlink(missing_ok=True)


def _heard(session: Session, samples: Any, rate: int | None, *, is_final: bool = False) -> bytes:
    wall, cpu = time.perf_counter(), time.process_time()
    words = session.push(samples, rate, is_final=is_final).words
    spent = {
        "computation_time": time.perf_counter() - wall,
        "cpu_time": time.process_time() - cpu,
        "resident_bytes": resident_bytes(),
    }
    heard = {"total_audio_processed": session.state.listener.audio_ms / 1000}
    return _line({**heard, **spent, "generated_tokens": words, "deleted_tokens": []})


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps({"id": 0, **values}, ensure_ascii=False) + "\n").encode()


def as_scored(task: str) -> QualityOptions:
    """How what was written is scored."""
    if task == "s2tt":
        return QualityOptions(("bleu", "chrf"), is_normalised=True)
    # One of the corpora has no accents in its transcripts.
    return QualityOptions(("wer",), is_normalised=True, ignores_accents=True)


def tenths(log: Path) -> list[dict[str, float]]:
    """Of each tenth: ms of a chunk (median, slowest 5 %, CPU mean), median memory in MiB, words."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()[1:]]
    found = []
    for part in np.array_split(np.arange(len(lines)), 10):
        walls = sorted(1000 * lines[place]["computation_time"] for place in part)
        memory = statistics.median(lines[place]["resident_bytes"] for place in part)
        found.append(
            {
                "chunk_ms": statistics.median(walls),
                "chunk_p95_ms": walls[int(0.95 * len(walls))],
                "cpu_ms": statistics.mean(1000 * lines[place]["cpu_time"] for place in part),
                "resident_mib": memory / 2**20,
                "words": sum(len(lines[place]["generated_tokens"]) for place in part),
            }
        )
    return found


def report(title: str, scores: Scores, parts: Sequence[dict[str, float]]) -> str:
    """For people."""
    rows = [
        [str(number), *(f"{value:.1f}" for value in part.values())]
        for number, part in enumerate(parts, 1)
    ]
    first, last = parts[0], parts[-1]
    return "\n".join(
        (
            format_scores(scores, title),
            aligned(("tenth", *first), rows),
            "last tenth against the first: "
            f"chunk {last['chunk_ms'] / first['chunk_ms']:.3f} times, "
            f"CPU {last['cpu_ms'] / first['cpu_ms']:.3f} times, memory "
            f"{last['resident_mib'] - first['resident_mib']:+.1f} MiB",
        )
    )


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("long_form", __doc__)
    add = parser.add_argument
    add_corpus_part(parser)
    add("--minutes", type=float, default=60.0, help="of audio, at most 150 (%(default)s)")
    add("--noise", metavar="SHARE", type=float, default=1 / 3, help="turns with noise (a third)")
    add("--seed", type=int, default=0, help="of what is random (%(default)s)")
    add("--output", type=Path, default=Path("runs/long"), help="(%(default)s)")
    add("--make-only", action="store_true", help="make the recording and stop")
    add("--run", metavar="NAME", help="folder of the run in --output (checkpoint and task)")
    add_system_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Make the recording, hear it, and print the report."""
    args = build_parser().parse_args(argv)
    return ended("long_form", lambda: _work(args, argv))


def _work(args: argparse.Namespace, argv: list[str] | None) -> None:
    if not 0 < args.minutes <= LONGEST_MINUTES:
        raise DataError(f"--minutes is {args.minutes}; expected up to {LONGEST_MINUTES:g}")
    if not 0 <= args.noise <= 1:
        raise DataError(f"--noise is {args.noise}; expected a share of the turns, 0 to 1")
    rows = read_corpus_part(args.data, args.split, args.corpora)
    make_recording(
        rows, args.data, args.output, seconds=60 * args.minutes, noise=args.noise, seed=args.seed
    )
    if args.make_only:
        return
    options = options_of(args)
    run = args.output / (
        args.run or f"{Path(options.checkpoint or SHIPPED_CHECKPOINT).name}-{options.task}"
    )
    details, used = run / DETAILS, {"options": json.loads(json.dumps(vars(options)))}
    known = json.loads(details.read_text(encoding="utf-8")) if details.exists() else used
    if known["options"] != used["options"]:
        raise DataError(f"{run} is of {known['options']}; expected {used['options']}; give --run")
    if known is used:
        hear(translator_of(args), args.output / RECORDING, run)
    sentences = read_sentences(args.output / SEGMENTS, args.output / TEXTS[options.task])
    instances = read_log(run / LOG).instances
    scores = score_long(instances, sentences, as_scored(options.task))
    parts = tenths(run / LOG)
    if known is used:
        results = {**heading("long_form", argv), **used, **scores.details(), "tenths": parts}
        write_results(details, results)
    print(report(str(run), scores, parts))


if __name__ == "__main__":
    sys.exit(main())
