"""A run that is killed between any two segments, and goes on in another process."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from simuleval.data.segments import SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError, StateMismatchError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.session import Session, Translator
from echostream.session.saved_run import ANSWERS, STREAM, SavedRun
from tests.small_system import audio

Make = Callable[..., Translator]

KINDS: dict[str, dict[str, Any]] = {
    "ctc": {},
    "beam": {"decoder": "prefix-beam", "policy": "local-agreement", "policy_options": "n=2"},
}
SIZE = 3000
RECORDING = audio(1.6, seed=4)


class Counting:
    """Stands before a translator and counts what is really computed."""

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.translator, name)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        self.steps += 1
        return self.translator.step(*args, **kwargs)


def cut(samples: Any, size: int = SIZE) -> list[tuple[Any, bool]]:
    """Segments, and whether each is the last."""
    starts = range(0, len(samples), size)
    return [(samples[start : start + size], start + size >= len(samples)) for start in starts]


def hear(run: Any, segments: list[tuple[Any, bool]], reference: str | None = None) -> list[Any]:
    """The turns of each segment, from the first one on."""
    watched = isinstance(run, SavedRun)
    session = Session(
        run._translator if watched else run,
        reference=reference,
        observers=[run] if watched else [],
    )
    return [
        session.push(samples, SAMPLE_RATE, is_final=is_final).turns
        for samples, is_final in segments
    ]


@pytest.mark.fault("F39")
@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_every_segment(translate: Make, tmp_path: Path, kind: str) -> None:
    """Each run hears one segment more than the last; what was heard before costs nothing."""
    translator = translate(**KINDS[kind])
    segments = cut(RECORDING)
    expected = hear(translator, segments)
    assert sum(bool(turn.words) for turns in expected for turn in turns) > 1
    for count in range(1, len(segments) + 1):
        counting = Counting(translator)
        run = SavedRun(tmp_path, counting)  # type: ignore[arg-type]
        assert hear(run, segments[:count]) == expected[:count]
        assert counting.steps == 1
    assert not (tmp_path / STREAM).exists(), "the recording has ended"
    counting = Counting(translator)
    assert hear(SavedRun(tmp_path, counting), segments) == expected  # type: ignore[arg-type]
    assert counting.steps == len(segments)


@pytest.mark.parametrize("moment", ["half a line", "a line more", "no state"])
def test_killed_while_saving(translate: Make, tmp_path: Path, moment: str) -> None:
    translator, segments = translate(), cut(RECORDING)
    expected = hear(translator, segments)
    hear(SavedRun(tmp_path, translator), segments[:3])
    before = (tmp_path / STREAM).read_bytes()
    hear(SavedRun(tmp_path, translator), segments[:4])
    if moment == "no state":
        (tmp_path / STREAM).unlink()
    else:
        (tmp_path / STREAM).write_bytes(before)
        (tmp_path / ".stream.new").write_bytes(b"half of")
    if moment == "half a line":
        text = (tmp_path / ANSWERS).read_text()
        (tmp_path / ANSWERS).write_text(text[:-20])
    for count in (5, len(segments)):
        counting = Counting(translator)
        run = SavedRun(tmp_path, counting)  # type: ignore[arg-type]
        assert hear(run, segments[:count]) == expected[:count]
        computed = {5: 5 if moment == "no state" else 2, len(segments): len(segments) - 5}[count]
        assert counting.steps == computed


def test_another_recording_is_heard_from_its_start(translate: Make, tmp_path: Path) -> None:
    """Also one that begins alike, one in other segments, one of which less is there."""
    translator, segments = translate(), cut(RECORDING)
    other = np.concatenate((RECORDING[: 2 * SIZE], audio(1.0, seed=9)))
    for samples, size in ((audio(1.0, seed=8), SIZE), (other, SIZE), (RECORDING, 1700)):
        hear(SavedRun(tmp_path, translator), segments[:5])
        mine = cut(samples, size)
        run = SavedRun(tmp_path, translator)
        assert hear(run, mine[:4]) == hear(translator, mine[:4])
        # The folder now has that one.
        counting = Counting(translator)
        again = SavedRun(tmp_path, counting)  # type: ignore[arg-type]
        assert hear(again, mine) == hear(translator, mine)
        assert counting.steps == len(mine) - 4
        # And the run still knows what was interrupted, for when its turn comes.
        assert hear(run, segments) == hear(translator, segments)


def test_an_earlier_recording_may_come_first(translate: Make, tmp_path: Path) -> None:
    """SimulEval writes its log in blocks, so a killed run has to do some recordings again."""
    translator, segments = translate(), cut(RECORDING)
    first = cut(audio(0.7, seed=6))
    run = SavedRun(tmp_path, translator)
    hear(run, first)
    hear(run, segments[:6])
    counting = Counting(translator)
    run = SavedRun(tmp_path, counting)  # type: ignore[arg-type]
    assert hear(run, first) == hear(translator, first)
    assert hear(run, segments) == hear(translator, segments)
    assert counting.steps == len(first) + len(segments) - 6


def test_a_reset_among_repeated_answers_begins_anew(translate: Make, tmp_path: Path) -> None:
    translator, segments = translate(), cut(RECORDING)
    hear(SavedRun(tmp_path, translator), segments[:6])
    run = SavedRun(tmp_path, translator)
    hear(run, segments[:2])
    assert hear(run, segments) == hear(translator, segments)


def test_references_belong_to_the_recording(translate: Make, tmp_path: Path) -> None:
    translator, segments = translate(policy="wait-k", policy_options="k=1"), cut(RECORDING)
    whole = hear(SavedRun(tmp_path / "a", translator), segments, "one two three four five six")
    hear(SavedRun(tmp_path, translator), segments[:5], "one two three four five six")
    assert hear(SavedRun(tmp_path, translator), segments, "one two three four five six") == whole
    hear(SavedRun(tmp_path, translator), segments[:5], "one two three four five six")
    other = hear(SavedRun(tmp_path, translator), segments, "un deux trois")
    assert [word for turns in other for turn in turns for word in turn.words] == [
        "un",
        "deux",
        "trois",
    ]


def test_other_settings_are_refused(translate: Make, tmp_path: Path) -> None:
    hear(SavedRun(tmp_path, translate()), cut(RECORDING)[:3])
    with pytest.raises(StateMismatchError, match="other settings.*delete"):
        SavedRun(tmp_path, translate(chunk_ms=640))
    assert (tmp_path / STREAM).exists()
    hear(SavedRun(tmp_path, translate()), cut(RECORDING))
    SavedRun(tmp_path, translate(chunk_ms=640))


def test_damage_is_refused(translate: Make, tmp_path: Path) -> None:
    translator = translate()
    hear(SavedRun(tmp_path, translator), cut(RECORDING)[:3])
    good = {name: (tmp_path / name).read_bytes() for name in (ANSWERS, STREAM)}
    lines = good[ANSWERS].splitlines(keepends=True)
    damaged = [
        (STREAM, b""),
        (STREAM, good[STREAM][:-3]),
        (STREAM, b"\xff" * 8 + good[STREAM][8:]),
        (STREAM, good[STREAM][:900] + b"?" + good[STREAM][901:]),
        (ANSWERS, b""),
        (ANSWERS, b"".join(lines[:2])),
        (ANSWERS, b"[]\n" + b"".join(lines[1:])),
        (ANSWERS, b"{}\n" + b"".join(lines[1:])),
    ]
    for name, data in damaged:
        for each, value in good.items():
            (tmp_path / each).write_bytes(value)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StateMismatchError):
            SavedRun(tmp_path, translator)


def test_a_full_disk_ends_the_saving_and_not_the_translation(
    translate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    translator, segments = translate(), cut(RECORDING)
    expected = hear(translator, segments)
    run = SavedRun(tmp_path, translator)
    saved = 0

    def full(name: str, data: bytes) -> None:
        nonlocal saved
        saved += 1
        if saved > 3:
            raise OSError(28, "No space left on device")
        SavedRun._replace(run, name, data)

    monkeypatch.setattr(run, "_replace", full)
    with caplog.at_level(logging.WARNING):
        assert hear(run, segments) == expected
    assert run.failed and saved == 4
    assert caplog.text.count("no longer kept up to date") == 1
    # What was saved before is still good.
    monkeypatch.undo()
    assert hear(SavedRun(tmp_path, translator), segments) == expected


def test_what_cannot_be_saved_is_refused_at_once(
    checkpoint: Path, translate: Make, tmp_path: Path
) -> None:
    made = translate()
    with pytest.raises(ConfigError, match="--save-state.*put together by hand"):
        SavedRun(tmp_path, Translator(made.listener, made.writer))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--save-state .*file"):
        SavedRun(tmp_path / "file", translate())
    for other in ("record", "segment_log"):
        options = {"save_state": str(tmp_path), other: str(tmp_path / "log")}
        with pytest.raises(ConfigError, match="--record or --segment-log"):
            EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), **options))


def test_the_size_of_the_state_is_constant_and_each_segment_adds_a_line(
    translate: Make, tmp_path: Path
) -> None:
    run = SavedRun(tmp_path, translate())
    session = Session(run._translator, observers=[run])
    sizes = []
    for samples, _ in cut(audio(10.0), 5120)[:-1]:
        session.push(samples, SAMPLE_RATE)
        sizes.append((tmp_path / STREAM).stat().st_size)
    # Counters gain digits, unwritten words come and go.
    assert max(sizes[5:]) - min(sizes[5:]) < 3000
    lines = (tmp_path / ANSWERS).read_text().splitlines()
    assert len(lines) == len(sizes) + 1
    assert all(json.loads(line) for line in lines)


def test_only_the_agents_own_stream_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    agent = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), save_state=str(tmp_path)))
    segment = SpeechSegment(content=RECORDING[:8000].tolist(), sample_rate=SAMPLE_RATE)
    agent.pushpop(segment, agent.build_states())
    assert not (tmp_path / STREAM).exists()
    agent.pushpop(segment)
    assert (tmp_path / STREAM).exists()
