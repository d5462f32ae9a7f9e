"""PCM samples in whatever form the caller has them, to checked mono float32.

Legend: n = number of samples.

Every push passes through here, so the common cases (a Python list of floats, which is what
SimulEval hands over, and a float32 array) cost one conversion and two passes (minimum and maximum)
and no more.
"""

from __future__ import annotations

import array as typed_arrays
import logging
import struct
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from echostream.errors import AudioFormatError, ConfigError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NanPolicy: TypeAlias = Literal["error", "zero"]
Channel: TypeAlias = Literal["mean", "left", "right"]
"""What is heard of two channels."""
Samples: TypeAlias = "Sequence[float] | Sequence[Sequence[float]] | NDArray[Any] | torch.Tensor"
"""A list of floats, a list of [left, right] pairs, a numpy array or a torch tensor; see
`as_mono`."""

LOUDEST_FLOAT = 8.0
"""Above this a float cannot be a loud sample (18 dB over full scale); it is on another scale."""

_CANCELLED_DB = 25
_FEWEST_TO_JUDGE = 100
_QUIET_POWER = 1e-6
"""-60 dB: what is as quiet as that may be noise."""

_INTEGER_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}

_RAW_BYTES = ("B", "b", "c")
"""Formats of a memory view that say nothing of what the bytes mean."""

_NO_NUMBERS = (str, bytes, bytearray, memoryview)
"""Sequences in Python's sense that hold no samples."""

_warned: set[str] = set()
_warned_lock = threading.Lock()


def no_samples() -> NDArray[np.float32]:
    """For states that hold none yet."""
    return np.zeros(0, np.float32)


class CheckedSamples(NamedTuple):
    """Result of `check_samples`.

    samples: float32 [n], C-contiguous, finite, in [-1, 1]; may be the caller's own array, so
    neither write to it nor keep it without copying.
    nonfinite: how many NaN or infinite values were set to zero (always 0 with policy "error").
    clipped: how many values outside [-1, 1] were clipped.
    """

    samples: NDArray[np.float32]
    nonfinite: int
    clipped: int


def as_mono(
    samples: Samples, *, nan_policy: NanPolicy = "error", channel: Channel = "mean"
) -> NDArray[np.float32]:
    """Mono float32 samples from anything that plausibly holds PCM.

    samples: one of
        - a Python sequence of numbers in [-1, 1], or of [left, right] pairs (SimulEval's stereo);
        - a numpy array, array.array or torch tensor [n], [n, 1], [1, n], [n, 2] or [2, n] of
          float16/32/64 in [-1, 1], int16 or int32 (divided by 2**15 or 2**31, either byte order).
          Where a shape can be read both ways, as [2, 2], the last axis is the channels.
      Contiguous or not, read-only or not.
    nan_policy: "error" rejects NaN and infinities, "zero" replaces them by 0 (`check_samples`
        counts).
    channel: of two channels their "mean", with a warning once in a process, and another if they
        cancel each other; or the "left" or "right" one.

    Returns float32 [n], C-contiguous. It is the caller's own array where nothing had to be changed;
    it must not be written to. Values with 1 < abs(x) <= 8 are clipped, with one warning per
    process.

    Raises AudioFormatError for other types, dtypes and shapes, for NaN or infinity under "error",
    and for floats with abs(x) > 8, which are 16-bit numbers passed as floats.
    """
    return check_samples(samples, nan_policy=nan_policy, channel=channel).samples


def check_samples(
    samples: Samples,
    *,
    nan_policy: NanPolicy = "error",
    channel: Channel = "mean",
    position: int = 0,
) -> CheckedSamples:
    """`as_mono` that also says what it had to repair.

    position: index in the stream of the first sample, so that errors name positions in the stream.
    Raises as `as_mono` does, and ConfigError for an unknown nan_policy or channel.
    """
    check_choice("nan_policy", nan_policy, NanPolicy)
    check_choice("channel", channel, Channel)
    pushed = as_array(samples)
    if pushed.size == 0:
        return CheckedSamples(no_samples(), 0, 0)
    array = to_float32(pushed)
    # NaN fails both comparisons, so the usual case is settled by these two passes.
    if array.min() >= -1.0 and array.max() <= 1.0:
        return CheckedSamples(_down_mix(array, channel), 0, 0)

    finite = np.isfinite(array)
    nonfinite = array.size - int(np.count_nonzero(finite))
    if nonfinite:
        if nan_policy == "error":
            first = int(np.argwhere(~finite)[0][0])
            value = array[first][~finite[first]][0] if array.ndim == 2 else array[first]
            raise AudioFormatError(
                f"sample {position + first} is {value}, one of {nonfinite} values that are not "
                "finite; expected numbers in [-1, 1]. Repair the source, or use nan_policy='zero' "
                "to replace such samples by silence and count them"
            )
        array = np.where(finite, array, np.float32(0.0))
    magnitude = np.abs(array)
    peak = float(magnitude.max())
    if peak > LOUDEST_FLOAT:
        first = int(np.argwhere(magnitude > LOUDEST_FLOAT)[0][0])
        raise AudioFormatError(
            f"the floating point samples reach {peak:g} (first above {LOUDEST_FLOAT:g} at sample "
            f"{position + first}); expected [-1, 1]. 16-bit numbers were probably passed as "
            "floats: divide them by 32768, or pass them with dtype int16"
        )
    clipped = int(np.count_nonzero(magnitude > 1.0))
    if clipped:
        _warn_once(
            "clipped",
            "samples outside [-1, 1] (peak %.3g at or after sample %d) are clipped; lower the "
            "gain of the source. Further clipping is counted but not logged",
            peak,
            position,
        )
        array = np.clip(array, -1.0, 1.0)
    return CheckedSamples(_down_mix(array, channel), nonfinite, clipped)


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raises ConfigError unless the value is one of a Literal's."""
    if value not in get_args(choices):
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(get_args(choices))}")


def as_array(samples: Samples) -> NDArray[Any]:
    """The caller's samples as a numpy array [n] or [n, 2] of any dtype, without copying arrays.

    Values are neither checked nor scaled; a Python sequence becomes float32. `as_mono` of the
    result is `as_mono` of the samples.

    Raises AudioFormatError for what cannot be such an array.
    """
    if isinstance(samples, (np.ndarray, typed_arrays.array)) or (
        isinstance(samples, memoryview) and samples.format not in _RAW_BYTES
    ):
        array = np.asarray(samples)
    elif hasattr(samples, "detach"):  # A torch tensor, recognised without importing torch here.
        tensor = samples.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    elif isinstance(samples, Sequence) and not isinstance(samples, _NO_NUMBERS):
        # Python numbers carry no width: integers in a list are read as floats, like their
        # neighbours.
        try:
            with np.errstate(over="ignore"):  # becomes infinite and is reported as that
                array = _from_numbers(samples)
        except (TypeError, ValueError, OverflowError) as error:
            raise AudioFormatError(
                f"the samples are a {type(samples).__name__} that is not a list of numbers or of "
                f"[left, right] pairs of equal length ({error}); pass such a list or an array"
            ) from error
    else:
        hint = ""
        if isinstance(samples, (bytes, bytearray, memoryview)):
            hint = "; for raw 16-bit little-endian PCM use numpy.frombuffer(data, '<i2')"
        raise AudioFormatError(
            f"the samples are a {type(samples).__name__}; expected a list of floats, a list of "
            f"[left, right] pairs, a numpy array or a torch tensor{hint}"
        )
    if array.ndim == 2 and 1 in array.shape and array.shape[1] != 2:
        array = array.reshape(-1)
    elif array.ndim == 2 and array.shape[1] != 2 and array.shape[0] == 2:
        array = array.T
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 2):
        return array
    raise AudioFormatError(
        f"the samples have shape {array.shape}; expected [n], or one or two channels as [n, 2] or "
        "[2, n]. Push one stream at a time and mix more channels down first"
    )


def _from_numbers(samples: Sequence[Any]) -> NDArray[np.float32]:
    """As ``np.array`` makes it of them, which takes three times as long for a single level."""
    try:
        packed = struct.pack(f"{len(samples)}d", *samples)
    except struct.error:
        return np.array(samples, dtype=np.float32)
    return np.frombuffer(packed).astype(np.float32)


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Samples of an accepted dtype as float32 on the scale in which full scale is 1.

    Raises AudioFormatError for other dtypes.
    """
    if array.dtype == np.float32:
        return array
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    full_scale = _INTEGER_FULL_SCALE.get(array.dtype.newbyteorder("="))
    if full_scale is not None:
        return array.astype(np.float32) * np.float32(1.0 / full_scale)
    hint = ""
    if array.dtype.kind in "iu" and array.dtype.itemsize == 1:
        # 8-bit WAV and unread bytes look the same; guessing wrong would turn speech into noise.
        hint = (
            ". If these are raw bytes use numpy.frombuffer(data, '<i2'); if this is 8-bit WAV pass "
            "(x.astype('float32') - 128) / 128"
        )
    elif array.dtype.kind in "iu":
        hint = ". If the values are 16-bit PCM pass them with dtype int16"
    raise AudioFormatError(
        f"the samples have dtype {array.dtype}; expected float16, float32 or float64 in [-1, 1], "
        f"int16 or int32{hint}"
    )


def _down_mix(array: NDArray[np.float32], channel: Channel) -> NDArray[np.float32]:
    """[n] or [n, 2] to contiguous [n]."""
    if array.ndim == 1 or channel != "mean":
        column = array if array.ndim == 1 else array[:, 0 if channel == "left" else 1]
        return np.ascontiguousarray(column)
    _warn_once(
        "stereo", "two-channel audio is averaged to one channel; channel left or right takes one"
    )
    mean = (array[:, 0] + array[:, 1]) * np.float32(0.5)
    if cancels(mean, array):
        _warn_once(
            "antiphase",
            "the two channels cancel each other: their mean is more than %d dB below them. They "
            "are in antiphase; choose channel left or right",
            _CANCELLED_DB,
        )
    return mean


def cancels(mean: NDArray[np.float32], channels: NDArray[np.float32]) -> bool:
    """Whether two channels [n, 2] are loud and their mean [n] is next to nothing."""
    power = float(np.square(channels).mean()) if len(mean) >= _FEWEST_TO_JUDGE else 0.0
    limit = power * 10 ** (-_CANCELLED_DB / 10)
    return power > _QUIET_POWER and float(np.square(mean).mean()) < limit


def _warn_once(kind: str, message: str, *values: object) -> None:
    """Log a warning the first time in this process that the condition is met."""
    with _warned_lock:
        if kind in _warned:
            return
        _warned.add(kind)
    logger.warning(message, *values)


def join_segments(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Segments ``[n]`` or ``[n, 2]`` of one stream as one; a single one is passed on as it is."""
    if len(parts) < 2:
        return parts[0] if parts else no_samples()
    if len({(part.dtype, part.ndim) for part in parts}) > 1:
        # Whole numbers beside floats would lose the type that says how they are scaled.
        parts = [to_float32(part) for part in parts]
    if len({part.ndim for part in parts}) > 1:
        parts = [np.stack((part, part), axis=1) if part.ndim == 1 else part for part in parts]
    return np.concatenate(parts)
