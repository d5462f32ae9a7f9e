"""From times to the figures that are printed and kept.

Each case has a row. Figures that compare two things (with the bound, streaming with offline, many
streams with one) are medians of the ratios within rounds.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from eval.bench.cases import ECHOSTREAM, Case, Plan
from eval.bench.limits import Bound, Limits, bound_of
from eval.bench.rounds import ratio_within_rounds
from eval.bench.streams import Measured


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
        figures = asdict(self)
        return {"setting": self.case.name, **figures.pop("case"), **rounded(figures)}


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

    def varied(self, name: str | None = None) -> list[Row]:
        """Streaming as in the plan's reference, on everything that runs; ``name`` is what varies.

        EchoStream's come first, each by what varies; without a name the fastest comes first.
        """
        reference = self.plan.reference()
        fixed = {"chunk_ms", "position_s", "threads", "streams"} - {name}
        rows = [
            row
            for row in self.rows
            if not row.case.is_offline
            and all(getattr(row.case, each) == getattr(reference, each) for each in fixed)
            and (
                name == "max_future_frames"
                or row.case.system != ECHOSTREAM
                or row.case.max_future_frames == reference.max_future_frames
            )
        ]

        def place(row: Row) -> tuple[Any, ...]:
            value = row.wall_ms_p50 if name is None else getattr(row.case, name)
            return row.case.system != ECHOSTREAM, value is not None, value or 0, row.case.runner

        return sorted(rows, key=place)

    @property
    def references(self) -> list[Row]:
        """Of each backend and precision, the fastest first."""
        return [row for row in self.varied() if row.case.system == ECHOSTREAM]

    @property
    def best_float32(self) -> Row:
        """Of the fastest float32 backend."""
        return next(row for row in self.references if row.case.precision == "float32")

    def limits_p50(self, threads: int) -> Limits:
        """The medians over rounds."""
        rounds = self._limits[threads].values()
        return Limits(*map(statistics.median, zip(*map(astuple, rounds), strict=True)))

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
        int8 = next((row for row in self.references if row.case.precision == "int8"), None)
        torch_row = self.get(self.plan.reference())
        return rounded(
            {
                "best_float32": best.case.runner,
                "best_float32_ms": best.wall_ms_p50,
                "best_float32_over_bound": best.over_bound,
                "bound_ms": best.bound_ms,
                "torch_ms": torch_row and torch_row.wall_ms_p50,
                "torch_over_bound": torch_row and torch_row.over_bound,
                "best_int8": int8 and int8.case.runner,
                "best_int8_ms": int8 and int8.wall_ms_p50,
                "int8_over_best_float32": int8 and self.ratio(int8.case, best.case),
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
        found = (
            self.ratio(replace(at, position_s=far), replace(at, position_s=near))
            for at in (case, self.plan.reference())
        )
        return None if near == far else next((ratio for ratio in found if ratio is not None), None)

    def _batch_gain(self, best: Case) -> float | None:
        """Streams per core in the largest batch over those of the best backend run solo.

        Both of one precision.
        """
        most = max(self.plan.streams)
        gains = [
            1 / ratio
            for case in self._measured
            if (case.system, case.streams, case.precision) == (ECHOSTREAM, most, best.precision)
            and (ratio := self.ratio(case, best, scale=most)) is not None
        ]
        return None if most == 1 else max(gains, default=None)

    def _scaled(self, case: Case, scale: float) -> dict[int, float]:
        times = self._measured[case].setting.by_round(statistics.median)
        return {number: time / scale for number, time in times.items()}

    def _row(self, found: Measured) -> Row:
        case, setting = found.case, found.setting
        limits = self._limits.get(case.threads, {})
        bounds = {number: bound_of(found.demand, at).ms for number, at in limits.items()}
        p50 = statistics.median(setting.wall_ms)
        return Row(
            case=case,
            wall_ms_p50=p50,
            wall_ms_p95=float(np.percentile(setting.wall_ms, 95)),
            cpu_ms_p50=statistics.median(setting.cpu_ms),
            untimed_ms_p50=setting.untimed_p50,
            compute_rtf=p50 / case.audio_ms,
            over_offline=self._over_offline(case),
            over_bound=ratio_within_rounds(self._scaled(case, 1.0), bounds),
            bound_ms=statistics.median(bounds.values()) if bounds else None,
            multiply_adds=found.demand.multiply_adds,
            weight_bytes=found.demand.weight_bytes,
            state_bytes=found.state_bytes,
            streams_per_core=case.streams * case.audio_ms / (p50 * case.threads),
            rounds=len(setting.turns),
        )

    def _over_offline(self, case: Case) -> float | None:
        """Against its own system's ``forward`` with the same chunk and one stream."""
        alike = (case.system, case.chunk_ms, case.threads)
        for other in self._measured:
            if other.is_offline and (other.system, other.chunk_ms, other.threads) == alike:
                scale = case.streams * case.audio_ms
                return None if case.is_offline else self.ratio(case, other, scale, other.audio_ms)
        return None


def rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Floats to four significant digits."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in figures.items()
    }
