"""Recordings and pipes at the command line: the words of the session, whatever happens beside."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from echostream.cli import main
from echostream.commands.live import Terminal, listen
from echostream.errors import ConfigError
from echostream.hosts import capture
from echostream.session import Session, Translator
from tests.small_system import audio


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / f"{name}.wav") for name in ("first", "broken", "second")]
    soundfile.write(names[0], audio(1.5, 1), 16_000)
    Path(names[1]).write_bytes(b"no audio")
    soundfile.write(names[2], audio(1.2, 2), 44_100)
    return names


def said(translator: Translator, name: str) -> str:
    session = Session(translator)
    samples, rate = soundfile.read(name, dtype="float32")
    return " ".join((*session.push(samples, rate).words, *session.finish().words))


def test_recordings_are_done_once_and_a_bad_one_stops_none(
    checkpoint: Path, translate, recordings: list[str], tmp_path: Path, capsys
) -> None:  # type: ignore[no-untyped-def]
    command = ["transcribe", *recordings, "--checkpoint", str(checkpoint)]
    assert main([*command, "--quiet"]) == 1
    shown = capsys.readouterr()
    translator = translate()
    assert shown.out.splitlines() == [
        said(translator, recordings[0]),
        said(translator, recordings[2]),
    ]
    assert "broken.wav" in shown.err and len(shown.err.splitlines()) == 1
    output = tmp_path / "out"
    (output / "x").mkdir(parents=True)
    (output / "second.srt").write_text("mine")
    assert main([*command, "--format", "srt", "--output", str(output)]) == 1
    assert {path.name for path in output.iterdir()} == {"x", "first.srt", "second.srt"}
    assert (output / "second.srt").read_text() == "mine"
    assert (output / "first.srt").read_text().startswith("1\n00:00:0")
    assert "1 of 3 are there" in capsys.readouterr().err
    same = ["a/first.wav", "b/first.flac"]
    assert main(["transcribe", *same, "--output", str(output)]) == 1
    assert "both be written to" in capsys.readouterr().err


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_writes_what_is_left_when_it_is_interrupted(translate) -> None:  # type: ignore[no-untyped-def]
    translator = translate(policy="wait-k", policy_options="k=3,stride=1")
    samples = audio(2.4, 3)

    def source() -> Iterator[np.ndarray]:
        yield from np.array_split(samples, 20)
        raise KeyboardInterrupt

    session = Session(translator)
    expected = " ".join((*session.push(samples, 16_000).words, *session.finish().words)) + "\n"
    plain, screen = io.StringIO(), Screen()
    for out in (plain, screen):
        listen(translator, source(), 16_000, Terminal(out), tentative=True)
    assert plain.getvalue() == expected and len(expected) > 10
    assert shown(screen.getvalue()) == expected
    assert "\x1b[2m" in screen.getvalue()


def shown(written: str) -> str:
    """What a terminal shows in the end: the escapes for colour, back and clear."""
    line, column, place = "", 0, 0
    while place < len(written):
        if written[place] == "\x1b":
            end = next(n for n in range(place + 2, len(written)) if written[n].isalpha())
            number, kind = written[place + 2 : end], written[end]
            column -= int(number) if kind == "D" else 0
            line = line[:column] if kind == "K" else line
            place = end + 1
            continue
        line = line[:column] + written[place] + line[column + 1 :]
        column += 1
        place += 1
    return line


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=8), st.sampled_from((1, 2)))
def test_a_pipe_may_be_cut_anywhere(pieces: list[bytes], channels: int) -> None:
    reader, writer = os.pipe()
    try:
        source = capture.from_pipe(reader, 16_000, channels)
        heard = []
        for piece in pieces:
            os.write(writer, piece)
        os.close(writer)
        heard = [samples.reshape(-1) for samples in source]
    finally:
        os.close(reader)
    data = b"".join(pieces)
    whole = len(data) - len(data) % (2 * channels)
    assert b"".join(samples.tobytes() for samples in heard) == data[:whole]


class Sound:
    """The package sounddevice, with one microphone that says 0, 1, 2, ..."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, device: object, kind: str) -> dict[str, object]:
        if device not in (None, 3):
            raise ValueError(f"No input device matching {device!r}")
        return {"name": "a microphone", "default_samplerate": 44_100.0}

    def RawInputStream(self, **options: object) -> Sound:  # noqa: N802
        self.options = options
        return self

    def start(self) -> None:
        for number in range(3):
            block = np.arange(5, dtype="<i2") + 5 * number
            self.options["callback"](memoryview(block.tobytes()), 5, None, None)

    def close(self) -> None:
        pass


def test_a_microphone_is_heard_at_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Sound())
    microphone = capture.Microphone("3")
    assert microphone.rate == 44_100
    blocks = list(itertools.islice(microphone, 3))
    assert np.concatenate(blocks).tolist() == list(range(15)) and blocks[0].dtype == np.int16
    with pytest.raises(ConfigError, match="'?other.*--list-devices"):
        capture.Microphone("other")


def test_a_microphone_needs_its_package(monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["live", "--list-devices"]) == 1
    assert "echostream[live]" in capsys.readouterr().err
