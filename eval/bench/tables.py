"""The results as text. All tables of the encoder have the same columns, to compare any rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from eval.bench.agents import AgentTimes
from eval.bench.cases import ECHOSTREAM, STREAMSPEECH, Case
from eval.bench.limits import Limits
from eval.bench.memory import LongStream
from eval.bench.rows import Results, Row

_COLUMNS = (
    ("p50 ms", 8),
    ("p95 ms", 8),
    ("CPU ms", 8),
    ("first ms", 8),
    ("RTF", 7),
    ("/offline", 8),
    ("/bound", 7),
    ("latency ms", 10),
    ("state kB", 9),
    ("streams/core", 12),
)
NOTES = """\
p50, p95: wall time of a call (a chunk; offline the recording). CPU: of all threads. first: wall
time of the first call in a turn, when other settings have been using the caches. RTF: time over
audio. /offline: time per second of audio over that of torch `forward` with the same chunk and
threads. /bound: over the larger of weight bytes / bandwidth and operations / peak, in float32.
latency: chunk plus p50. state: of one stream. streams/core: in real time, the core always busy.
Ratios are medians of the ratios within rounds; compare within one run only."""


def table(title: str, rows: Sequence[tuple[str, Row]]) -> str:
    """One line for each label and row; empty without rows."""
    if not rows:
        return ""
    width = max(len(title), *(len(label) for label, _ in rows))
    head = " ".join(f"{name:>{size}}" for name, size in _COLUMNS)
    lines = [f"{title:{width}} {head}"]
    for label, row in rows:
        cells = (f"{text:>{size}}" for text, (_, size) in zip(_cells(row), _COLUMNS, strict=True))
        lines.append(f"{label:{width}} {' '.join(cells)}".rstrip())
    return "\n".join(lines)


def _cells(row: Row) -> Iterator[str]:
    yield f"{row.wall_ms_p50:.2f}"
    yield f"{row.wall_ms_p95:.2f}"
    yield f"{row.cpu_ms_p50:.2f}"
    yield _number(row.untimed_ms_p50, 2)
    yield f"{row.compute_rtf:.4f}"
    yield _number(row.over_offline, 2)
    yield _number(row.over_bound, 2)
    yield "-" if row.case.is_offline else f"{row.case.chunk_ms + row.wall_ms_p50:.0f}"
    yield "-" if row.state_bytes is None else f"{row.state_bytes / 1000:.0f}"
    yield "-" if row.case.is_offline else f"{row.streams_per_core:.1f}"


def tables(results: Results) -> list[str]:
    """All tables of the encoder."""
    plan = results.plan
    streaming = [row for row in results.where(system=ECHOSTREAM) if not row.case.is_offline]
    baseline = results.where(system=STREAMSPEECH)
    start = plan.positions[0]

    def varied(**fixed: object) -> list[Row]:
        """Rows that differ from their backend's reference in what is not fixed only."""
        return [
            row
            for row in streaming
            if all(getattr(row.case, name) == value for name, value in fixed.items())
        ]

    usual: dict[str, object] = {
        "chunk_ms": plan.chunk_ms,
        "max_future_frames": plan.max_future_frames,
        "position_s": start,
        "threads": plan.threads[0],
        "streams": 1,
    }

    def without(name: str) -> dict[str, object]:
        return {key: value for key, value in usual.items() if key != name}

    backends = results.references + [
        row
        for row in baseline
        if row.case.is_offline
        or (row.case.chunk_ms == plan.chunk_ms and row.case.position_s == start)
    ]
    offline = results.where(system=ECHOSTREAM, mode="offline", threads=plan.threads[0])
    found = [
        table(f"Backends: chunk {plan.chunk_ms} ms, after {start} s", _labelled(backends, _runner)),
        table(
            "Streaming against offline: forward in torch",
            _labelled(offline, lambda case: f"{case.position_s} s, chunk {case.chunk_ms} ms"),
        ),
        table(
            "Latency by chunk",
            _labelled(
                [
                    *_sorted(varied(**without("chunk_ms")), "chunk_ms"),
                    *(r for r in baseline if not r.case.is_offline and r.case.position_s == start),
                ],
                lambda case: f"{case.chunk_ms} ms, {_runner(case)}",
            ),
        ),
        table(
            "CT-mask: look-ahead L",
            _labelled(
                [r for r in varied(**without("max_future_frames")) if _has_others(r, streaming)],
                lambda case: f"L = {case.max_future_frames}, {_runner(case)}",
            ),
        ),
        table(
            "Position in the stream",
            _labelled(
                [
                    *_sorted(varied(**without("position_s")), "position_s"),
                    *(
                        row
                        for row in baseline
                        if not row.case.is_offline and row.case.chunk_ms == plan.chunk_ms
                    ),
                ],
                lambda case: f"after {case.position_s} s, {_runner(case)}",
            ),
        ),
        table(
            "Threads",
            _labelled(
                _sorted(varied(**without("threads")), "threads") if len(plan.threads) > 1 else [],
                lambda case: f"{case.threads}, {_runner(case)}",
            ),
        ),
        table(
            "Streams in one batch",
            _labelled(
                _sorted(varied(**without("streams")), "streams") if len(plan.streams) > 1 else [],
                lambda case: f"{case.streams}, {_runner(case)}",
            ),
        ),
        memory_table(results),
    ]
    return [text for text in found if text]


def memory_table(results: Results) -> str:
    """What the weights and a stream's state take."""
    lines = ["Memory"]
    shown: dict[tuple[str, int, int | None], str] = {}
    for row in results.rows:
        if row.state_bytes is None or row.case.precision != "float32":
            continue
        case = row.case
        grows = case.system == STREAMSPEECH
        runner = _runner(case) if grows else "EchoStream"
        key = (runner, case.chunk_ms, case.position_s if grows else None)
        at = f", after {case.position_s} s" if grows else ", at any time"
        shown[key] = (
            f"  {runner}, chunk {case.chunk_ms} ms{at}: state {row.state_bytes / 1000:.0f} kB, "
            f"weights {row.weight_bytes / 1e6:.1f} MB in float32"
        )
    return "\n".join([*lines, *shown.values()])


def limits_lines(results: Results) -> list[str]:
    """What the machine did, and the bound that follows."""
    lines = []
    for threads in results.plan.threads:
        case = dataclasses.replace(results.references[0].case, threads=threads)
        if results.get(case) is None:
            continue
        bound, limits = results.bound(case), results.limits_p50(threads)
        lines.append(
            f"{threads} thread(s): float32 peak {limits.operations_per_s / 1e9:.1f} GFLOP/s, "
            f"reading {limits.bytes_per_s / 1e9:.1f} GB/s ({_reading(limits)}); bound "
            f"{bound.ms:.2f} ms a chunk (weights {bound.reading_ms:.2f}, arithmetic "
            f"{bound.arithmetic_ms:.2f})"
        )
    return lines


def agents_lines(agents: Sequence[AgentTimes], audio_s: float) -> list[str]:
    """What the agents' stages cost for each segment, and all of them for the recording."""
    if not agents:
        return []
    title = "End to end: agent, ms a segment"
    width = max(len(title), *(len(agent.name) for agent in agents))
    heads = (
        *(name.replace("_", " ") for name in agents[0].stages()),
        "beside model",
        f"wall s, {audio_s:g} s",
        "CPU s",
    )
    lines = [_line(title, width, heads, heads)]
    for agent in agents:
        cells = [f"{value:.2f}" for value in agent.stages().values()]
        cells.append(f"{100 * agent.beside_encoder():.1f} %")
        cells += [f"{agent.total_wall_s:.2f}", f"{agent.total_cpu_s:.2f}"]
        lines.append(_line(agent.name, width, heads, cells))
    return lines


def _line(label: str, width: int, heads: Sequence[str], cells: Sequence[str]) -> str:
    """Cells right-justified under their heads."""
    placed = (f"{cell:>{max(8, len(head))}}" for head, cell in zip(heads, cells, strict=True))
    return f"{label:{width}} {' '.join(placed)}"


def long_stream_line(name: str, found: LongStream) -> str:
    """Memory and time over a long stream."""
    first, last = found.kept[0], found.kept[-1]
    state = "constant" if found.state_is_constant else "NOT CONSTANT"
    return (
        f"{name}: {last.audio_s / 60:.1f} min of audio: resident set "
        f"{first.resident_bytes / 2**20:.1f} MiB after warm-up, at most "
        f"{found.growth_bytes / 2**20:+.2f} MiB more; state {last.state_bytes} bytes, {state}; "
        f"chunk {first.chunk_ms_p50:.2f} ms there, {last.chunk_ms_p50:.2f} ms at the end"
    )


def _labelled(rows: Iterable[Row], label: object) -> list[tuple[str, Row]]:
    return [(label(row.case), row) for row in rows]  # type: ignore[operator]


def _sorted(rows: Iterable[Row], name: str) -> list[Row]:
    return sorted(rows, key=lambda row: (getattr(row.case, name), row.case.runner))


def _runner(case: Case) -> str:
    return case.runner


def _has_others(row: Row, rows: Iterable[Row]) -> bool:
    """Whether the row's backend was measured with other look-aheads."""
    return any(
        other.case.runner == row.case.runner
        and other.case.max_future_frames != row.case.max_future_frames
        for other in rows
    )


def _reading(limits: Limits) -> str:
    return (
        f"the weights' size again and again {limits.weights_bytes_per_s / 1e9:.1f}, more than the "
        f"last cache {limits.memory_bytes_per_s / 1e9:.1f}"
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
