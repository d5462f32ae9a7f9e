"""What was written of a recording, with times, as text, SubRip, WebVTT or JSON."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from echostream.session.writer import Turn

FORMATS = ("txt", "srt", "vtt", "json")

LINE_CHARACTERS = 42
"""Of a subtitle's line; a subtitle has two."""

LONGEST_CUE_MS = 6_000
PAUSE_MS = 2_000
"""Words further apart than this are in two subtitles."""

FIRST_WORD_MS = 500
"""Only ends of words are known, so the first word of a subtitle is taken to begin so long before
its own."""

_SENTENCE_ENDS = tuple(".!?。！？")


@dataclass(frozen=True)
class WrittenWord:
    """A word and when it was said and written, in ms of audio."""

    text: str
    end_ms: int
    """As in :attr:`Turn.times_ms`."""
    written_ms: int
    """Audio that had been encoded when it was written; what is more than ``end_ms`` is its delay
    without the time for computing."""


@dataclass(frozen=True)
class Cue:
    """A subtitle."""

    begin_ms: int
    end_ms: int
    text: str


def words_of(turns: Iterable[Turn]) -> tuple[WrittenWord, ...]:
    """The words of some turns."""
    return tuple(
        WrittenWord(text, end_ms, turn.audio_ms)
        for turn in turns
        for text, end_ms in zip(turn.words, turn.times_ms, strict=True)
    )


def transcript(
    words: Sequence[WrittenWord], form: str, separator: str = " ", **about: object
) -> str:
    """All words of a recording in one of :data:`FORMATS`, with a line end.

    ``about``: what else JSON tells, such as the recording's name.
    """
    text = separator.join(word.text for word in words)
    if form == "txt":
        return text + "\n"
    if form == "json":
        told = {**about, "text": text, "words": [asdict(word) for word in words]}
        return json.dumps(told, ensure_ascii=False, indent=1) + "\n"
    shown = cues(words, separator)
    if form == "srt":
        blocks = [_block(cue, ",", cue.text, f"{n}\n") for n, cue in enumerate(shown, start=1)]
        return "\n".join(blocks)
    blocks = [_block(cue, ".", _escaped(cue.text)) for cue in shown]
    return "\n".join(("WEBVTT\n", *blocks))


def cues(words: Sequence[WrittenWord], separator: str = " ") -> list[Cue]:
    """Subtitles that end with sentences and pauses, and before they are too long."""
    groups: list[list[WrittenWord]] = []
    for word in words:
        if not groups or _begins_another(groups[-1], word, separator):
            groups.append([])
        groups[-1].append(word)
    found: list[Cue] = []
    for group in groups:
        # A decoder with attention may look back, and subtitles must not.
        earliest = found[-1].end_ms if found else 0
        begin = max(earliest, group[0].end_ms - FIRST_WORD_MS)
        end = max(begin + 1, *(word.end_ms for word in group))
        found.append(Cue(begin, end, separator.join(word.text for word in group)))
    return found


def _begins_another(group: Sequence[WrittenWord], word: WrittenWord, separator: str) -> bool:
    length = len(separator.join(each.text for each in (*group, word)))
    return (
        group[-1].text.endswith(_SENTENCE_ENDS)
        or length > 2 * LINE_CHARACTERS
        or word.end_ms - group[-1].end_ms > PAUSE_MS
        or word.end_ms - group[0].end_ms > LONGEST_CUE_MS - FIRST_WORD_MS
    )


def _block(cue: Cue, point: str, text: str, head: str = "") -> str:
    lines = "\n".join(textwrap.wrap(text, LINE_CHARACTERS, break_on_hyphens=False))
    return f"{head}{_clock(cue.begin_ms, point)} --> {_clock(cue.end_ms, point)}\n{lines}\n"


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
