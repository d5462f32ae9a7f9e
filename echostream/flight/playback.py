"""A recorded flight once more: the same segments to the same system, compared as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from echostream.audio.description import describe_audio
from echostream.errors import DataError
from echostream.flight.record import FlightRecord, RecordedSegment, Stream
from echostream.flight.recorder import (
    describe_error,
    describe_turn,
)
from echostream.flight.sources import Sources
from echostream.machine import machine, versions
from echostream.session import Translator, TranslatorState


@dataclass(frozen=True)
class Difference:
    """The first thing that is not as it was."""

    stream: int
    segment: int
    field: str
    """Such as ``turns[0].words``."""
    recorded: Any
    now: Any

    def __str__(self) -> str:
        return (
            f"first difference: stream {self.stream}, segment {self.segment}: {self.field}\n"
            f"  recorded  {_shown(self.recorded)}\n"
            f"  now       {_shown(self.now)}"
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a playback."""

    num_segments: int
    """That were equal."""
    difference: Difference | None
    notes: tuple[str, ...]
    """Segments that could not be pushed again."""


def play(
    record: FlightRecord,
    translator: Translator,
    sources: Sources,
    progress: Callable[[Iterable[Stream | RecordedSegment]], Iterable[Any]] = iter,
) -> Outcome:
    """Push what was pushed and compare, up to the first difference.

    Of a segment these are compared, in this order: the audio, the error, the turns, the counters.
    Compute times are not.

    Args:
        record: what happened.
        translator: built of the record's options.
        sources: of the audio.
        progress: goes around the events, such as a progress bar.
    """
    states: dict[int, TranslatorState] = {}
    equal = 0
    notes: list[str] = []
    for event in progress(record.events):
        if isinstance(event, Stream):
            states[event.number] = translator.init_state(event.reference)
            continue
        if "unreadable" in event.audio:
            notes.append(
                f"stream {event.stream}, segment {event.number}: a {event.audio['unreadable']} was "
                "pushed, which is no audio and was not kept; passed over"
            )
            continue
        now, states[event.stream] = _again(event, translator, sources, states[event.stream])
        difference = _compare(event, now)
        if difference is not None:
            return Outcome(equal, difference, tuple(notes))
        equal += 1
    return Outcome(equal, None, tuple(notes))


def _again(
    segment: RecordedSegment, translator: Translator, sources: Sources, state: TranslatorState
) -> tuple[dict[str, Any], TranslatorState]:
    samples = sources.samples(segment)
    # The rate that was said, not the file's: a host that says another one is part of the story.
    rate = segment.audio["sample_rate"]
    found: dict[str, Any] = {"audio": describe_audio(samples, rate)}
    if found["audio"].get("sha256") != segment.audio["sha256"]:
        return found, state
    try:
        step, state = translator.step(samples, rate, state, is_final=segment.is_final)
    except Exception as error:
        # Whatever was raised then was recorded, so whatever is raised now is a result too.
        return {**found, "error": describe_error(error)}, state
    turns = [describe_turn(turn) for turn in step.turns]
    return {**found, "turns": turns, "counters": translator.counters(state)}, state


def _compare(segment: RecordedSegment, now: Mapping[str, Any]) -> Difference | None:
    audio = {key: segment.audio[key] for key in ("shape", "dtype", "sha256")}
    pairs: list[tuple[str, Any, Any]] = [
        ("audio", audio, {key: now["audio"].get(key) for key in audio})
    ]
    pairs += [
        (key, segment.outcome.get(key), now.get(key)) for key in ("error", "turns", "counters")
    ]
    for key, recorded, found in pairs:
        first = _first(key, recorded, json.loads(json.dumps(found)))
        if first is not None:
            return Difference(segment.stream, segment.number, *first)
    return None


def _first(field: str, recorded: Any, now: Any) -> tuple[str, Any, Any] | None:
    """The innermost first place in which two JSON values differ."""
    if recorded == now:
        return None
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in recorded | now:
            found = _first(f"{field}.{key}", recorded.get(key), now.get(key))
            if found is not None:
                return found
    if isinstance(recorded, list) and isinstance(now, list) and "words" not in field:
        for index, (one, other) in enumerate(zip(recorded, now, strict=False)):
            found = _first(f"{field}[{index}]", one, other)
            if found is not None:
                return found
        return f"number of {field}", len(recorded), len(now)
    return field, recorded, now


def differing_settings(record: FlightRecord, translator: Translator) -> list[str]:
    """What is not as it was in the system itself: lines of what, recorded, now."""
    there, here = record.header["settings"] or {}, json.loads(json.dumps(translator.settings)) or {}
    pairs = [(key, there.get(key), here.get(key)) for key in {**there, **here}]
    then = {**record.header["versions"], **record.header.get("machine", {})}
    now = {**versions(), **machine()}
    pairs += [(key, then[key], value) for key, value in now.items() if key in then]
    return [
        f"{key}: recorded {_shown(recorded)}, now {_shown(now)}"
        for key, recorded, now in pairs
        if recorded != now
    ]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]} ... ({len(text)} characters)"


def require_streams(record: FlightRecord, name: str) -> None:
    """Raise :class:`DataError` if there is nothing to play."""
    if not record.segments:
        raise DataError(f"{name} holds no segment; expected a record of a run that began")
