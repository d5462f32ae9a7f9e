"""Resampling of a stream to 16 kHz that gives the same samples for every segmentation.

Legend: r = source rate, n = samples at the source rate, m = samples at 16 kHz,
period = r / gcd(r, 16000): every `period`-th source sample falls on a whole sample at 16 kHz.

libsoxr's own stream object can neither be copied nor saved, and what it returns depends on how the
input was cut. So the work is done in blocks of output at fixed positions in the stream. Each block
is one call of the one-shot function on the source samples around it, which start on a multiple of
`period` and reach further than the filter on both sides; the edges are thrown away. A block is then
a function of the recording and its own position alone. State is the source samples still needed.

Measured for soxr 1.1 at quality HQ. Of 9866 rates tried from 1 to 768 kHz, none from 4 kHz up has
an impulse response whose absolute values beyond 101 samples (of the slower rate) from the centre
sum to 1e-6. Below 4 kHz libsoxr builds its filter otherwise, and it widens to 147 just below 4000
Hz. With 100 samples on either side, and 150 below 4 kHz:
- at 8, 11.025, 12.345, 22.05, 24, 32, 44.1 and 48 kHz, 10 s of white noise of amplitude 1 differ
  from the recording resampled in one call by at most 7e-7, which is the rounding of float32 (with
  60 samples: 5e-4 to 1.3e-3);
- at 3283 rates from 1 to 768 kHz, 0.6 s of a tone differ from the exact tone by at most 1.4e-6
  (with 64 samples, at 256 rates: 8e-6 to 1.7e-4).
At some odd rates the single call is not the better reference: libsoxr's rounded phase step drifts.
At 27156 Hz its error for a tone of 5600 Hz is 1e-5, 3e-5 and 1.2e-4 after 2, 8 and 32 s, while that
of the blocks, which each start on an exact position, stays at 7.5e-6 (the ripple of the filter).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from math import gcd

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.audio.samples import no_samples
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError

MIN_SOURCE_RATE = 1_000
MAX_SOURCE_RATE = 768_000

_SUPPORT = 100
_SUPPORT_BELOW_4_KHZ = 150
"""Half length of soxr's HQ filter, in samples of the slower rate (measured, see above)."""

_BLOCK = SAMPLE_RATE // 50
"""Block of output for ordinary rates: 20 ms, one encoder frame."""

_LONG_BLOCK = 8 * _BLOCK
"""Block of output for rates with a period over 200 ms. A call reaches back up to one period beyond
the filter, up to 1 s if r and 16000 have no common factor, and has to be worth that."""

_INAUDIBLE = np.float32(1e-15)
"""Samples below this (-300 dB) are taken as zero."""


def check_sample_rate(sample_rate: object) -> int:
    """The sample rate in Hz as an int. Raises AudioFormatError if it is missing or impossible."""
    advice = "pass the rate of the audio, in Hz, with the samples"
    try:
        if isinstance(sample_rate, bool):
            raise TypeError
        rate = operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        raise AudioFormatError(
            f"the sample rate is {sample_rate!r}; expected a whole number of Hz; {advice}"
        ) from None
    if not MIN_SOURCE_RATE <= rate <= MAX_SOURCE_RATE:
        raise AudioFormatError(
            f"the sample rate is {rate}; expected {MIN_SOURCE_RATE} to {MAX_SOURCE_RATE} Hz; "
            f"{advice}"
        )
    return rate


@dataclass(frozen=True, eq=False)
class ResamplerState:
    """What a stream needs in order to go on. Arrays are never written to after creation.

    carry: float32, the latest source samples, as far back as the next block reaches.
    samples_in: source samples heard. samples_out: 16 kHz samples returned.
    """

    carry: NDArray[np.float32] = field(default_factory=no_samples)
    samples_in: int = 0
    samples_out: int = 0

    def clone(self) -> ResamplerState:
        """A copy that shares no array with this one."""
        return ResamplerState(self.carry.copy(), self.samples_in, self.samples_out)


class Resampler:
    """Resamples mono audio from `source_rate` to 16 kHz with libsoxr (quality HQ), statefully.

    Linear phase, no delay in the output's own time: output sample j is the signal at j / 16000 s.
    But it is known only `look_ahead_samples` later, which counts towards algorithmic latency.
    Blocks end on such positions that after every 20 ms of source (160 ms for rates with a period
    over 200 ms) nothing but the look-ahead is outstanding. At 16 kHz samples pass through
    untouched.

    Immutable; one object serves any number of streams and threads.

    source_rate: Hz, 1000 to 768000. Raises AudioFormatError otherwise.
    """

    def __init__(self, source_rate: int) -> None:
        self.source_rate = check_sample_rate(source_rate)
        common = gcd(self.source_rate, SAMPLE_RATE)
        self._period_in = self.source_rate // common
        self._period_out = SAMPLE_RATE // common
        self._is_identity = self.source_rate == SAMPLE_RATE
        support = _SUPPORT if self.source_rate >= 4_000 else _SUPPORT_BELOW_4_KHZ
        self._reach = -(-support * max(self.source_rate, SAMPLE_RATE) // SAMPLE_RATE)
        self._block = _BLOCK if 5 * self._period_in <= self.source_rate else _LONG_BLOCK
        # One source sample more than the filter needs, for callers who cut 20 ms at 11025 Hz
        # (220.5 samples) to 220.
        self._look_ahead = -(-(self._reach + 1) * SAMPLE_RATE // self.source_rate)

    @property
    def look_ahead_samples(self) -> int:
        """How far the output lags behind the source at the end of a block, in samples at 16 kHz."""
        return 0 if self._is_identity else self._look_ahead

    def init_state(self) -> ResamplerState:
        """State of a stream of which nothing has been heard."""
        return ResamplerState()

    def step(
        self, samples: NDArray[np.float32], state: ResamplerState
    ) -> tuple[NDArray[np.float32], ResamplerState]:
        """Output that more source samples make known.

        samples: float32 [n] at the source rate, n >= 0.
        Returns float32 [m] at 16 kHz, m >= 0, and the new state. Nothing passed in is changed; at
        16 kHz the output is the input array itself.
        """
        heard = state.samples_in + samples.size
        if self._is_identity:
            return samples, ResamplerState(state.carry, heard, state.samples_out + samples.size)
        # Products of denormal numbers make libsoxr ten times slower, so what is that quiet is
        # silence.
        audible = np.where(np.abs(samples) < _INAUDIBLE, np.float32(0.0), samples)
        signal = np.concatenate((state.carry, audible))
        origin = heard - signal.size
        blocks = []
        done = state.samples_out
        while self._needed(end := self._block_end(done)) <= heard:
            blocks.append(self._block_between(done, end, signal, origin))
            done = end
        # A copy, so that the carry does not keep a long push alive.
        carry = signal[self._first_needed(done) - origin :].copy()
        return _join(blocks), ResamplerState(carry, heard, done)

    def flush(self, state: ResamplerState) -> NDArray[np.float32]:
        """The rest of the output, as if silence followed: float32 [m] at 16 kHz.

        Of n source samples, (n * 16000 + r // 2) // r samples come out altogether. The state is not
        changed; the stream ends here, so there is no new one.
        """
        total = (state.samples_in * SAMPLE_RATE + self.source_rate // 2) // self.source_rate
        if self._is_identity or state.samples_out >= total:
            return no_samples()
        origin = state.samples_in - state.carry.size
        silence = max(0, self._needed(self._block_end(total)) - state.samples_in)
        signal = np.concatenate((state.carry, np.zeros(silence, np.float32)))
        blocks = []
        done = state.samples_out
        while done < total:
            end = self._block_end(done)
            blocks.append(self._block_between(done, end, signal, origin)[: total - done])
            done = end
        return _join(blocks)

    # Positions below are absolute: counted in samples from the start of the stream.

    def _block_end(self, position: int) -> int:
        """End of the block of output that starts (or goes on) at output `position`.

        The ends lie `_look_ahead` before the multiples of the block length, where segments usually
        end; on the multiples themselves every segment would lack a whole block.
        """
        done = position + self._look_ahead
        return (done // self._block + 1) * self._block - self._look_ahead

    def _needed(self, end: int) -> int:
        """How many source samples must have been heard to compute output up to `end`."""
        return -(-end * self.source_rate // SAMPLE_RATE) + self._reach

    def _first_needed(self, position: int) -> int:
        """First source sample used for the block that starts at output `position`."""
        first = max(0, position * self.source_rate // SAMPLE_RATE - self._reach)
        return first // self._period_in * self._period_in

    def _block_between(
        self, start: int, end: int, signal: NDArray[np.float32], origin: int
    ) -> NDArray[np.float32]:
        """Output [start, end), given source samples `signal` that begin at `origin`."""
        first = self._first_needed(start)
        source = signal[first - origin : self._needed(end) - origin]
        output: NDArray[np.float32] = soxr.resample(
            source, self.source_rate, SAMPLE_RATE, quality="HQ"
        )
        output_origin = first // self._period_in * self._period_out
        return output[start - output_origin : end - output_origin]


def _join(blocks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(blocks) if blocks else no_samples()
