"""What clients say and are told: simulstream's messages, and more in the same ones.

A client sends audio as binary messages, 16-bit little-endian PCM of one channel, and JSON objects
about it; it is told JSON objects.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.audio.resample import MAX_SOURCE_RATE, MIN_SOURCE_RATE
from echostream.errors import AudioFormatError, EchoStreamError
from echostream.hosts.transcript import WrittenWord

_FEWEST_TO_JUDGE = 160
_QUIETEST_FLOAT, _LOUDEST_FLOAT = 1e-4, 2.0
_RANDOM_BITS = 4_000
"""Standard deviation of the lower halves of float32 samples; of uniform bits it is 18,900."""


class MessageError(EchoStreamError):
    """A message that is not one of the protocol."""


@dataclass(frozen=True)
class Control:
    """What a JSON message asks for; ``None`` is not said."""

    sample_rate: int | None = None
    """Of the audio that follows, Hz."""
    source_language: str | None = None
    target_language: str | None = None
    tentative: bool | None = None
    """Whether words that may still change are wanted."""
    ends: bool = False
    """Whether the stream ends here."""
    resume: str | bool | None = None
    """True for a token to come back with, or that token."""
    words: int = 0
    """That a client which is back has of its stream."""


def read_control(text: str) -> Control:
    """A client's JSON message; names that are not the protocol's are passed over.

    Raises:
        MessageError: for anything that is no JSON object, or a value of another kind.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the message {_short(text)} is no JSON ({error})") from error
    if not isinstance(told, dict):
        raise MessageError(f"the message {_short(text)} is no JSON object")
    rate = told.get("sample_rate")
    if rate is not None:
        whole = isinstance(rate, int | float) and not isinstance(rate, bool) and rate == rate // 1
        if not whole or not MIN_SOURCE_RATE <= rate <= MAX_SOURCE_RATE:
            raise MessageError(
                f"sample_rate is {_short(rate)}; expected a whole number, {MIN_SOURCE_RATE} to "
                f"{MAX_SOURCE_RATE} Hz"
            )
        rate = int(rate)
    tentative = told.get("tentative")
    if not isinstance(tentative, bool | None):
        raise MessageError(f"tentative is {_short(tentative)}; expected true or false")
    resume, words = told.get("resume"), told.get("words", 0)
    if not isinstance(resume, str | bool | None) or not isinstance(words, int) or words < 0:
        raise MessageError(
            f"resume is {_short(resume)} and words {_short(words)}; expected true, or the token "
            "and how many words of the stream are there"
        )
    return Control(
        rate,
        _language(told, "source_lang"),
        _language(told, "target_lang"),
        tentative,
        "end_of_stream" in told,
        resume,
        words,
    )


def read_audio(message: bytes) -> NDArray[np.int16]:
    """A binary message as samples ``[n]``.

    Raises:
        AudioFormatError: if it ends in the middle of a sample.
    """
    if len(message) % 2:
        raise AudioFormatError(
            f"the binary message has {len(message)} bytes; expected an even number: 16-bit "
            "little-endian samples of one channel"
        )
    return np.frombuffer(message, "<i2")


def require_int16(samples: NDArray[np.int16]) -> None:
    """Refuse float32 samples that were sent as if they were 16-bit ones, which would be noise.

    Read as float32, 16-bit speech holds values that are no numbers or beyond all measure, since
    small negative samples are the exponents of such; and half of what float32 samples are made of
    looks random.

    Args:
        samples: ``[n]``; fewer than 20 ms say nothing.

    Raises:
        AudioFormatError: if they are float32.
    """
    samples = samples[: len(samples) // 2 * 2]
    if len(samples) < _FEWEST_TO_JUDGE:
        return
    with np.errstate(invalid="ignore"):
        peak = np.abs(samples.view("<f4")).max()
    # False for NaN.
    if _QUIETEST_FLOAT < peak <= _LOUDEST_FLOAT and samples[::2].std() > _RANDOM_BITS:
        raise AudioFormatError(
            f"the binary message looks like float32 samples up to {peak:.3g}; expected 16-bit "
            "little-endian ones: multiply by 32767 and send int16"
        )


@dataclass(frozen=True)
class Written:
    """What is told of some chunks of a stream."""

    text: str = ""
    """The words, with what separates them from those before."""
    words: tuple[WrittenWord, ...] = ()
    tentative: str = ""
    """What may still change, behind the words."""
    audio_ms: int = 0
    """Audio that was encoded."""
    waiting_ms: int = 0
    """Audio that was sent and not encoded."""
    compute_ms: float = 0.0
    """Spent on it."""

    def followed_by(self, later: Written) -> Written:
        """Both in one message."""
        return Written(
            self.text + later.text,
            self.words + later.words,
            later.tentative,
            later.audio_ms,
            later.waiting_ms,
            self.compute_ms + later.compute_ms,
        )

    def to_json(self) -> str:
        """As it is sent; nothing is ever deleted."""
        return json.dumps(
            {
                "new": self.text,
                "deleted": "",
                "words": [asdict(word) for word in self.words],
                "tentative": self.tentative,
                "audio_ms": self.audio_ms,
                "waiting_ms": self.waiting_ms,
                "compute_ms": round(self.compute_ms, 3),
            },
            ensure_ascii=False,
        )


END = json.dumps({"end_of_processing": True})
"""Everything of a stream was told."""


def event_json(**event: object) -> str:
    """Something else; simulstream's page takes it for a message without words."""
    return json.dumps({"new": "", "deleted": "", **event}, ensure_ascii=False)


def error_json(reason: str) -> str:
    """An error in words."""
    return event_json(error=reason)


def joined(words: Sequence[str], separator: str, *, begun: bool) -> str:
    """Words as text that can be put behind what was written before."""
    return (separator if begun and words else "") + separator.join(words)


def _language(told: dict[str, Any], key: str) -> str | None:
    language = told.get(key)
    if language is not None and not isinstance(language, str):
        raise MessageError(f"{key} is {_short(language)}; expected a code such as 'es'")
    return language or None


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "..."
