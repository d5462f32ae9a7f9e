"""``echostream transcribe``: recordings as text or subtitles, heard as a live stream is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.commands import command
from echostream.commands.system import add_system_arguments, translator_of
from echostream.errors import ConfigError, EchoStreamError

if TYPE_CHECKING:
    from echostream.hosts.transcript import WrittenWord
    from echostream.session import Translator

FORMATS = ("txt", "srt", "vtt", "json")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="echostream transcribe",
        description="Translate recordings (--task asr: transcribe them), chunk by chunk as if they "
        "were live. A recording that cannot be read costs a line on standard error, and the others "
        "are still done. What stands in the output folder is not done again.",
        epilog="Exit status: 0; 1 if a recording failed; 2 for wrong usage.",
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg, MP3 and what else libsndfile "
        "reads, of any sample rate")  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="a file for each recording, named as it is "
        "(default: standard output)")  # fmt: skip
    add("--format", choices=FORMATS, default="txt", help="text, subtitles, or words with their "
        "times (%(default)s)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress on standard error")
    add_system_arguments(parser)
    return parser


def outputs(files: Sequence[str], folder: Path, form: str) -> list[Path]:
    """Where each recording's words go.

    Raises:
        ConfigError: if two recordings would go to one file.
    """
    paths = [folder / f"{Path(name).stem}.{form}" for name in files]
    taken: dict[Path, str] = {}
    for name, path in zip(files, paths, strict=True):
        if path in taken:
            raise ConfigError(
                f"{taken[path]} and {name} would both be written to {path}; expected names that "
                "differ: give them in two runs with two folders"
            )
        taken[path] = name
    return paths


@command("transcribe", build_parser)
def main(args: argparse.Namespace) -> int:
    """Do all recordings; 0, or 1 if one failed."""
    paths: list[Path | None] = [None] * len(args.files)
    if args.output is not None:
        paths = [*outputs(args.files, args.output, args.format)]
    waiting = [
        (number, name, path)
        for number, (name, path) in enumerate(zip(args.files, paths, strict=True), start=1)
        if path is None or not path.exists()
    ]
    told = _Progress(len(args.files), quiet=args.quiet)
    if len(waiting) < len(paths):
        told.say(f"{len(paths) - len(waiting)} of {len(paths)} are there already")
    if not waiting:
        return 0
    translator = translator_of(args)
    status = 0
    for number, name, path in waiting:
        told.begin(number, name)
        try:
            _one(translator, name, path, args.format, told)
        except EchoStreamError as error:
            told.clear()
            print(f"echostream transcribe: error: {error}", file=sys.stderr)
            status = 1
    return status


def _one(translator: Translator, name: str, path: Path | None, form: str, told: _Progress) -> None:
    from echostream.hosts.transcript import transcript
    from echostream.whole_file import write_whole

    words: list[WrittenWord] = []
    duration = 0.0
    for duration, new in hear(translator, name):
        words.extend(new)
        told.heard(duration, len(words))
    about = {"file": name, "duration_ms": round(duration)}
    text = transcript(words, form, translator.writer.separator, **about)
    told.done()
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_whole(path, text)


def hear(translator: Translator, name: str) -> Iterator[tuple[float, tuple[WrittenWord, ...]]]:
    """A recording chunk by chunk: the audio heard so far, ms, and the words that are new.

    Raises:
        AudioFormatError: if it cannot be read, or not to its end.
    """
    from echostream.audio.files import stream_audio
    from echostream.hosts.transcript import words_of
    from echostream.session import Session

    session = Session(translator)
    listener = translator.listener
    for samples, rate in stream_audio(name, listener.chunk_ms, lead_ms=listener.right_context_ms):
        step = session.push(samples, rate)
        yield session.state.listener.audio_ms, words_of(step.turns)
    yield session.state.listener.audio_ms, words_of(session.finish().turns)


class _Progress:
    """A line for each recording on standard error, rewritten as it goes on a terminal."""

    def __init__(self, count: int, *, quiet: bool) -> None:
        self._count, self._quiet = count, quiet
        self._lives = sys.stderr.isatty() and not quiet
        self._head, self._line, self._started, self._shown = "", "", 0.0, 0.0

    def say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def begin(self, number: int, name: str) -> None:
        self._head = f"[{number}/{self._count}] {Path(name).name}"
        self._started = time.monotonic()

    def heard(self, audio_ms: float, num_words: int) -> None:
        now = time.monotonic()
        speed = audio_ms / 1000 / max(now - self._started, 1e-3)
        self._line = (
            f"{self._head}: {audio_ms / 1000:.1f} s, {num_words} words, {speed:.1f} times as fast "
            "as it was spoken"
        )
        if self._lives and now - self._shown > 0.2:
            self._shown = now
            print(f"\r\x1b[K{self._line}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._lives:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        self.clear()
        self.say(self._line)
