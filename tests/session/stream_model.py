"""What can be pushed into a stream, and what it must then have said."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from echostream.constants import SAMPLE_RATE
from echostream.session import Translator, TranslatorState, Turn
from tests.small_system import audio

RATES = (SAMPLE_RATE, 44_100)
SIZES = (0, 1, 2, 159, 160, 161, 1600, 1601, 4000, 5120, 9000, 20_000)
# Whole multiples of 2 ** -11 up to a half, so that the mean of two channels is exact.
POOL = np.round(audio(4.0, seed=7) * 2**10).astype(np.float32) / 2**11
SIDE = np.round(audio(4.0, seed=8) * 2**10).astype(np.float32) / 2**11


@dataclass(frozen=True)
class Piece:
    """Samples that can be pushed, in one of several forms."""

    start: int
    size: int
    form: str

    @property
    def mono(self) -> np.ndarray:
        return POOL[self.start : self.start + self.size]

    @property
    def pushed(self) -> Any:
        if self.form == "array":
            return self.mono
        if self.form == "list":
            return self.mono.tolist()
        side = SIDE[self.start : self.start + self.size]
        return np.stack((self.mono + side, self.mono - side), axis=1)


pieces = st.builds(
    Piece,
    st.sampled_from(range(0, 44_000, 5_500)),
    st.sampled_from(SIZES),
    st.sampled_from(("array", "list", "stereo")),
)
rates = st.sampled_from(RATES)


def bad_audio(kind: str, rate: int) -> tuple[Any, int | None]:
    """Samples and rate that must be refused by a stream of another rate."""
    good = POOL[:50].copy()
    if kind == "nan":
        good[7] = np.nan
    elif kind == "scale":
        good *= 20_000
    elif kind == "channels":
        return np.zeros((50, 3), np.float32), rate
    elif kind == "text":
        return ["a", "b"], rate
    elif kind == "rate":
        return good, {SAMPLE_RATE: 44_100, 44_100: SAMPLE_RATE}[rate]
    else:
        return good, None
    return good, rate


kinds_of_bad_audio = st.sampled_from(("nan", "scale", "channels", "text", "rate", "no rate"))


class Oracle:
    """What a stream must have said, from one run over all its samples."""

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self._known: dict[str, tuple[Turn, ...]] = {}
        self.words = 0

    def turns(self, samples: Sequence[np.ndarray], rate: int, *, final: bool) -> tuple[Turn, ...]:
        whole = np.concatenate([np.zeros(0, np.float32), *samples])
        key = f"{rate} {final} {hashlib.sha256(whole.tobytes()).hexdigest()}"
        if key not in self._known:
            step, _ = self.translator.step(
                whole, rate, self.translator.init_state(), is_final=final
            )
            self._known[key] = step.turns
            self.words += len(step.words)
        return self._known[key]


def digest(state: TranslatorState) -> str:
    """Of all that a state holds, by other means than :func:`save_stream`."""
    sums = hashlib.sha256(repr((state.writer, state.listener.finished)).encode())
    sums.update(repr(state.listener.front_end).encode())
    for stage in (state.listener.front_end.resampler, state.listener.front_end.fbank):
        sums.update(stage.carry.tobytes())
    for name, tensor in state.listener.encoder.named_tensors():
        sums.update(name.encode())
        sums.update(tensor.numpy().tobytes())
    return sums.hexdigest()
