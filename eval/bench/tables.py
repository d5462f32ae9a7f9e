"""The results as text. All tables of the encoder have the same columns, to compare any rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from eval.bench.agents import AgentTimes
from eval.bench.cases import ECHOSTREAM, STREAMSPEECH, Case
from eval.bench.memory import LongStream
from eval.bench.rows import Results, Row
from eval.command import aligned

_COLUMNS = (
    *("p50 ms", "p95 ms", "CPU ms", "first ms", "RTF", "/offline", "/bound"),
    *("latency ms", "state kB", "streams/core"),
)
NOTES = """\
p50, p95: wall time of a call (a chunk; offline the recording). CPU: of all threads. first: wall
time of the first call in a turn, when other settings have been using the caches. RTF: time over
audio. /offline: time per second of audio over that of torch `forward` with the same chunk and
threads. /bound: over the larger of weight bytes / bandwidth and operations / peak, in float32.
latency: chunk plus p50. state: of one stream. streams/core: in real time, the core always busy.
Ratios are medians of the ratios within rounds; compare within one run only."""


def _table(title: str, label: Callable[[Case], str], rows: Iterable[Row]) -> str:
    """One line for each row."""
    return aligned([title, *_COLUMNS], [[label(row.case), *_cells(row)] for row in rows])


def _cells(row: Row) -> list[str]:
    case = row.case
    return [
        f"{row.wall_ms_p50:.2f}",
        f"{row.wall_ms_p95:.2f}",
        f"{row.cpu_ms_p50:.2f}",
        _number(row.untimed_ms_p50),
        f"{row.compute_rtf:.4f}",
        _number(row.over_offline),
        _number(row.over_bound),
        "-" if case.is_offline else f"{case.chunk_ms + row.wall_ms_p50:.0f}",
        "-" if row.state_bytes is None else f"{row.state_bytes / 1000:.0f}",
        "-" if case.is_offline else f"{row.streams_per_core:.1f}",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def tables(results: Results) -> list[str]:
    """All tables of the encoder that have rows."""
    plan = results.plan
    offline = [row for row in results.rows if row.case.is_offline]
    ours = [row for row in offline if row.case.system == ECHOSTREAM]
    theirs = [row for row in offline if row.case.system == STREAMSPEECH]
    futures = results.varied("max_future_frames")
    usual = plan.max_future_frames
    several = {row.case.runner for row in futures if row.case.max_future_frames != usual}
    found = [
        _table(
            f"Backends: chunk {plan.chunk_ms} ms, after {plan.positions[0]} s",
            lambda case: case.runner,
            [*results.varied(), *theirs],
        ),
        _table(
            "Streaming against offline: forward in torch",
            lambda case: f"{case.position_s} s, chunk {case.chunk_ms} ms",
            ours,
        ),
    ]
    varied: dict[str, tuple[str, Callable[[Case], str], list[Row]]] = {
        "Latency by chunk": (
            "chunk_ms",
            lambda case: f"{case.chunk_ms} ms, {case.runner}",
            results.varied("chunk_ms"),
        ),
        "CT-mask: look-ahead L": (
            "max_future_frames",
            lambda case: f"L = {case.max_future_frames}, {case.runner}",
            [row for row in futures if row.case.runner in several],
        ),
        "Position in the stream": (
            "position_s",
            lambda case: f"after {case.position_s} s, {case.runner}",
            results.varied("position_s"),
        ),
        "Threads": (
            "threads",
            lambda case: f"{case.threads}, {case.runner}",
            [row for row in results.varied("threads") if row.case.system == ECHOSTREAM],
        ),
        "Streams in one batch": (
            "streams",
            lambda case: f"{case.streams}, {case.runner}",
            [row for row in results.varied("streams") if row.case.system == ECHOSTREAM],
        ),
    }
    found += [
        _table(title, label, rows)
        for title, (name, label, rows) in varied.items()
        if len({getattr(row.case, name) for row in rows}) > 1
    ]
    return [*found, memory_table(results)]


def memory_table(results: Results) -> str:
    """What the weights and a stream's state take."""
    shown: dict[str, None] = {}
    for row in results.rows:
        case = row.case
        if row.state_bytes is not None and case.precision == "float32":
            grows = case.system == STREAMSPEECH
            runner, at = "EchoStream", "at any time"
            if grows:
                runner, at = case.runner, f"after {case.position_s} s"
            shown[
                f"  {runner}, chunk {case.chunk_ms} ms, {at}: state {row.state_bytes / 1000:.0f} "
                f"kB, weights {row.weight_bytes / 1e6:.1f} MB in float32"
            ] = None
    return "\n".join(["Memory", *shown])


def limits_lines(results: Results) -> list[str]:
    """What the machine did, and the bound that follows."""
    lines = []
    for threads in results.plan.threads:
        case = replace(results.references[0].case, threads=threads)
        if results.get(case) is None:
            continue
        bound, limits = results.bound(case), results.limits_p50(threads)
        lines.append(
            f"{threads} thread(s): float32 peak {limits.operations_per_s / 1e9:.1f} GFLOP/s, "
            f"reading {limits.bytes_per_s / 1e9:.1f} GB/s (the weights' size again and again "
            f"{limits.weights_bytes_per_s / 1e9:.1f}, more than the last cache "
            f"{limits.memory_bytes_per_s / 1e9:.1f}); bound {bound.ms:.2f} ms a chunk (weights "
            f"{bound.reading_ms:.2f}, arithmetic {bound.arithmetic_ms:.2f})"
        )
    return lines


def agents_table(agents: Sequence[AgentTimes], audio_s: float) -> str:
    """What the agents' stages cost for each segment, and all of them for the recording."""
    stages = [name.replace("_", " ") for name in agents[0].stages()]
    return aligned(
        ["End to end: agent, ms a segment", *stages, "beside model", f"wall s, {audio_s:g} s",
         "CPU s"],
        [
            [
                agent.name,
                *(f"{value:.2f}" for value in agent.stages().values()),
                f"{100 * agent.beside_encoder():.1f} %",
                f"{sum(agent.wall_ms) / 1000:.2f}",
                f"{sum(agent.cpu_ms) / 1000:.2f}",
            ]
            for agent in agents
        ],
    )  # fmt: skip


def long_stream_line(name: str, found: LongStream) -> str:
    """Memory and time over a long stream."""
    state = "constant" if len(found.state_bytes) == 1 else "NOT CONSTANT"
    return (
        f"{name}: {found.audio_s / 60:.1f} min of audio: resident set "
        f"{found.resident_bytes / 2**20:.1f} MiB after warm-up, at most "
        f"{found.growth_bytes / 2**20:+.2f} MiB more; state {found.state_bytes[-1]} bytes, "
        f"{state}; chunk {found.chunk_ms[0]:.2f} ms there, {found.chunk_ms[1]:.2f} ms at the end"
    )
