"""From times to the figures that are printed and kept.

Each case has a row. Figures that compare two things (with the bound, streaming with offline, many
streams with one) are medians of the ratios within rounds.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.bench.cases import ECHOSTREAM, Case, Plan
from eval.bench.limits import Bound, Limits, bound_of
from eval.bench.streams import Measured
from eval.bench.times import ratio_within_rounds

COMPILED_INT8 = "int8"


@dataclass(frozen=True)
class Row:
    """One case's figures."""

    case: Case
    wall_ms_p50: float
    wall_ms_p95: float
    cpu_ms_p50: float
    untimed_ms_p50: float | None
    """Of the first call in each turn, which finds the caches full of other things."""
    compute_rtf: float
    """Of all streams together: time over the audio of one."""
    over_offline: float | None
    """Time per second of audio over that of ``forward`` in torch with the same threads."""
    over_bound: float | None
    """Over the float32 bound, also for int8."""
    bound_ms: float | None
    multiply_adds: int
    weight_bytes: int
    state_bytes: int | None
    """Of each stream."""
    streams_per_core: float
    """That many in real time, with the core always busy."""
    rounds: int

    def mapping(self) -> dict[str, Any]:
        """For JSON: the case's fields and the figures side by side."""
        figures = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "case"
        }
        return {"setting": self.case.name, **dataclasses.asdict(self.case), **_rounded(figures)}


class Results:
    """The rows of a run and what follows from them.

    Args:
        measured: after the rounds.
        limits: of the machine in each round, by threads.
        plan: what was varied.
    """

    def __init__(
        self,
        measured: Sequence[Measured],
        limits: Mapping[int, Mapping[int, Limits]],
        plan: Plan,
    ) -> None:
        self._measured = {found.case: found for found in measured}
        self._limits = limits
        self.plan = plan
        self.rows = [self._row(found) for found in measured]
        self._rows = {row.case: row for row in self.rows}

    def get(self, case: Case) -> Row | None:
        """The case's row, if it was measured."""
        return self._rows.get(case)

    def where(self, **values: object) -> list[Row]:
        """Rows whose case has these values."""
        return [
            row
            for row in self.rows
            if all(getattr(row.case, name) == value for name, value in values.items())
        ]

    @property
    def references(self) -> list[Row]:
        """Of each backend and precision, the fastest first."""
        rows = [self._rows[self.plan.reference(*pair)] for pair in self.plan.backends]
        return sorted(rows, key=lambda row: row.wall_ms_p50)

    @property
    def best_float32(self) -> Row:
        """Of the fastest float32 backend."""
        return next(row for row in self.references if row.case.is_reference_precision)

    def limits_p50(self, threads: int) -> Limits:
        """The medians over rounds."""
        found = list(self._limits[threads].values())
        return Limits(
            *(
                statistics.median(getattr(limits, field.name) for limits in found)
                for field in dataclasses.fields(Limits)
            )
        )

    def bound(self, case: Case) -> Bound:
        """The bound of a case at the machine's median speed."""
        return bound_of(self._measured[case].demand, self.limits_p50(case.threads))

    def ratio(
        self, case: Case, other: Case, scale: float = 1.0, other_scale: float = 1.0
    ) -> float | None:
        """Time of ``case`` over that of ``other``, each divided by its scale, within rounds."""
        if case not in self._measured or other not in self._measured:
            return None
        return ratio_within_rounds(self._scaled(case, scale), self._scaled(other, other_scale))

    def summary(self) -> dict[str, Any]:
        """The figures that the project's aims are stated in; ``None`` for what was not measured."""
        fastest, best = self.references[0], self.best_float32
        int8 = [row for row in self.references if row.case.precision == COMPILED_INT8]
        torch_row = self.get(self.plan.reference())
        return _rounded(
            {
                "best_float32": best.case.runner,
                "best_float32_ms": best.wall_ms_p50,
                "best_float32_over_bound": best.over_bound,
                "bound_ms": best.bound_ms,
                "torch_ms": torch_row and torch_row.wall_ms_p50,
                "torch_over_bound": torch_row and torch_row.over_bound,
                "best_int8": int8[0].case.runner if int8 else None,
                "best_int8_ms": int8[0].wall_ms_p50 if int8 else None,
                "int8_over_best_float32": (self.ratio(int8[0].case, best.case) if int8 else None),
                "best": fastest.case.runner,
                "streaming_over_offline": fastest.over_offline,
                "float32_streaming_over_offline": best.over_offline,
                "torch_streaming_over_offline": torch_row and torch_row.over_offline,
                "longest_position_over_shortest": self._position_ratio(best.case),
                "most_streams_per_core_over_best_solo": self._batch_gain(fastest.case),
                "float32_most_streams_per_core_over_best_solo": self._batch_gain(best.case),
            }
        )

    def _position_ratio(self, case: Case) -> float | None:
        """Chunk time far into a stream over that near its start; in torch if not measured else."""
        near, far = min(self.plan.positions), max(self.plan.positions)
        for at in (case, self.plan.reference()):
            early, late = (dataclasses.replace(at, position_s=place) for place in (near, far))
            if near != far and (found := self.ratio(late, early)) is not None:
                return found
        return None

    def _batch_gain(self, best: Case) -> float | None:
        """Streams per core in the largest batch over those of the best backend run solo.

        Both of one precision.
        """
        most = max(self.plan.streams, default=1)
        if most == 1:
            return None
        gains = [
            1 / ratio
            for row in self.where(streams=most, precision=best.precision, system=ECHOSTREAM)
            if (ratio := self.ratio(row.case, best, scale=most)) is not None
        ]
        return max(gains, default=None)

    def _scaled(self, case: Case, scale: float) -> dict[int, float]:
        times = self._measured[case].setting.times.by_round(statistics.median)
        return {number: time / scale for number, time in times.items()}

    def _row(self, found: Measured) -> Row:
        case, times = found.case, found.setting.times
        limits = self._limits.get(case.threads, {})
        bounds = {number: bound_of(found.demand, at).ms for number, at in limits.items()}
        over_bound = ratio_within_rounds(self._scaled(case, 1.0), bounds)
        return Row(
            case=case,
            wall_ms_p50=times.p50,
            wall_ms_p95=times.p95,
            cpu_ms_p50=times.cpu_p50,
            untimed_ms_p50=times.untimed_p50,
            compute_rtf=times.p50 / case.audio_ms,
            over_offline=self._over_offline(case),
            over_bound=over_bound,
            bound_ms=statistics.median(bounds.values()) if bounds else None,
            multiply_adds=found.demand.multiply_adds,
            weight_bytes=found.demand.weight_bytes,
            state_bytes=found.state_bytes,
            streams_per_core=case.streams * case.audio_ms / (times.p50 * case.threads),
            rounds=len(times.turns),
        )

    def _over_offline(self, case: Case) -> float | None:
        """Against its own system's ``forward`` with the same chunk and one stream."""
        if case.is_offline:
            return None
        for other in self._measured:
            if (
                other.is_offline
                and other.system == case.system
                and other.chunk_ms == case.chunk_ms
                and other.threads == case.threads
            ):
                return self.ratio(
                    case, other, scale=case.streams * case.audio_ms, other_scale=other.audio_ms
                )
        return None


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Floats to four significant digits."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in figures.items()
    }
