"""The largest difference of each module between two computations of the same frames.

Symbols: ``n`` frames of one stream at the module's rate, ``C`` what a module gives for a frame.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from echostream.verification.recorder import Frames


@dataclass(frozen=True)
class Difference:
    """Of one module, over all that was compared."""

    module: str
    largest: float = 0.0
    """Largest absolute difference."""
    scale: float = 0.0
    """Largest absolute value offline."""
    share: float = 0.0
    """Largest difference as a share of what rounding may do in the same stream; see
    :func:`allowed` and :meth:`Tally.add`."""
    frames: int = 0
    """Frames compared, at the module's own rate."""
    trial: int | None = None
    """Where ``share`` or ``problem`` was found."""
    first_frame: int | None = None
    """In that trial the first frame, at the module's own rate, that is not equal."""
    problem: str | None = None
    """What is wrong besides a difference: not finite, another number of frames, an exception."""

    @property
    def breaks(self) -> bool:
        """Whether stream and offline differ by more than rounding."""
        return self.problem is not None or self.share > 1.0


_OUTPUTS = ("front_end", "encoder", "asr_head", "st_head")
_INNER_FACTOR = 100.0


def allowed(module: str, tolerance: float, scale: float) -> float:
    """What rounding may do to values up to ``scale``: in proportion where they go beyond 1.

    Inside the encoder it may do a hundred times as much: the softmax makes an error of a score,
    which is a sum of large products, the same error relative to the weight (1.8e-4 was met); the
    bypasses and norms that follow make it small again. An error of the method cannot hide there:
    in float64 the same factor allows next to nothing.
    """
    factor = 1.0 if module in _OUTPUTS else _INNER_FACTOR
    return factor * tolerance * max(1.0, scale)


class Tally:
    """Differences by module, in the order of computation, gathered over trials.

    Args:
        tolerance: for numbers up to 1; see :func:`allowed`.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.trial = 0
        """Number of the trial that is being compared."""
        self._found: dict[str, Difference] = {}

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Of every module."""
        return tuple(self._found.values())

    def add(
        self, streamed: Frames, offline: Frames, rounding: Mapping[str, float] | None = None
    ) -> None:
        """Compare one trial; ``offline`` says which modules, in which order.

        ``rounding`` is by how much ``offline`` itself was found to differ from the exact result.
        The stream may be as far from that on the other side: they may differ by twice as much,
        whatever the tolerance.
        """
        for name, expected in offline.items():
            found = streamed.get(name, ())
            if len(found) != len(expected):
                self.fail(name, f"{len(found)} streams, expected {len(expected)}")
                continue
            for a, b in zip(found, expected, strict=True):
                self._compare(name, a, b, 2 * (rounding or {}).get(name, 0.0))

    def fail(self, name: str, problem: str, frame: int | None = None) -> None:
        """Note something that is no difference of numbers."""
        self._take(Difference(name, trial=self.trial, first_frame=frame, problem=problem))

    def agree(self, name: str, count: int) -> None:
        """Note ``count`` things that were compared otherwise and are equal."""
        self._take(Difference(name, frames=count))

    def _compare(self, name: str, a: Tensor, b: Tensor, rounding: float) -> None:
        if a.shape != b.shape:
            return self.fail(name, f"{tuple(a.shape)} in the stream, {tuple(b.shape)} offline")
        if not a.numel():
            return self.agree(name, 0)
        by_frame = (a - b).abs().flatten(1).amax(dim=1)
        good = by_frame.isfinite()
        if not bool(good.all()):
            return self.fail(name, "values that are not finite", int((~good).nonzero()[0]))
        largest, scale = float(by_frame.max()), float(b.abs().max())
        limit = max(allowed(name, self.tolerance, scale), rounding)
        over = (by_frame > limit).nonzero()
        first = int(over[0]) if len(over) else None
        share = largest / limit
        self._take(Difference(name, largest, scale, share, len(a), self.trial, first))

    def _take(self, new: Difference) -> None:
        old = self._found.get(new.module)
        self._found[new.module] = new if old is None else _worse(old, new)


def largest_of(parts: Iterable[tuple[Difference, ...]]) -> tuple[Difference, ...]:
    """The differences of several tallies in one, in the order of computation.

    The order is that of the first tally that has a module; one that only a later tally has comes
    after the module before it there.
    """
    merged: dict[str, Difference] = {}
    order: list[str] = []
    for part in parts:
        place = 0
        for difference in part:
            name = difference.module
            if name in merged:
                merged[name] = _worse(merged[name], difference)
                place = order.index(name) + 1
            else:
                merged[name] = difference
                order.insert(place, name)
                place += 1
    return tuple(merged[name] for name in order)


def badness(difference: Difference) -> tuple[bool, float]:
    """To order by: what is wrong besides numbers is worse than any difference of them."""
    return difference.problem is not None, difference.share


def _worse(old: Difference, new: Difference) -> Difference:
    """Both in one: the larger numbers, and the place of the worse one."""
    return dataclasses.replace(
        max(old, new, key=badness),
        largest=max(old.largest, new.largest),
        scale=max(old.scale, new.scale),
        share=max(old.share, new.share),
        frames=old.frames + new.frames,
    )
