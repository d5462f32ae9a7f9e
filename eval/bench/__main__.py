"""What the encoder costs, against the machine's own limits, as tables.

    python -m eval.bench --config configs/base.yaml
    python -m eval.bench --config configs/base.yaml --quick --output FILE

Every backend and precision that is installed, the baseline as published and with caches, and the
machine's matrix-multiply peak and memory bandwidth are measured in one run, in turn, round after
round; figures are medians, and comparisons hold within one run only. Weights and features are
random, which costs what real ones do. docs/speed.md says how it is measured and how to read it.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from echostream.backend import installed_backends, precisions_of
from echostream.baseline import ChunkConformerEncoder
from echostream.config import ChunkConformerConfig, EncoderConfig, load_config
from echostream.constants import BACKENDS, ENCODER_FRAME_MS
from echostream.encoder import ZipformerEncoder, registry
from echostream.errors import ConfigError, EchoStreamError
from echostream.machine import machine, versions
from eval.bench.agents import AgentTimes
from eval.bench.baseline_streams import measured_baseline
from eval.bench.cases import Plan, baseline_cases
from eval.bench.limits import LimitSettings, last_cache_bytes
from eval.bench.memory import LongStream, long_stream
from eval.bench.operations import weight_bytes
from eval.bench.rounds import measure
from eval.bench.rows import Results
from eval.bench.streams import Measured, Streams
from eval.bench.tables import (
    NOTES,
    agents_lines,
    limits_lines,
    long_stream_line,
    tables,
)

Item = TypeVar("Item")

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "configs" / "streamspeech.yaml"

ROUNDS, QUICK_ROUNDS = 40, 10
CHUNKS = (160, 320, 640, 1280)
POSITIONS, QUICK_POSITIONS = (10, 60, 1800), (10, 60)
STREAMS = (1, 2, 4, 8, 16)
FUTURES = (0, 1, 4, None)

BASELINE_MOST_S = 60
"""The baseline's cost grows with what was heard, so it is measured up to here only."""

AGENT_S, STAGES_S = 60, 20
"""Recordings for whole agents, with the baseline and without."""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m eval.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--config", type=Path, default=ROOT / "configs" / "base.yaml", metavar="YAML")
    add("--quick", action="store_true", help="fewer rounds; chunk, look-ahead and position vary in "
        "torch alone")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    add("--plots", type=Path, metavar="DIR", help="draw them; needs matplotlib")
    add("--rounds", type=_positive, help=f"of every setting ({ROUNDS}, quick {QUICK_ROUNDS})")
    add("--backends", nargs="+", choices=BACKENDS[:-1], help="default: all that are installed")
    add("--chunks", nargs="+", type=_positive, metavar="MS", help="multiples of 160 ms")
    add("--positions", nargs="+", type=_positive, metavar="S", help="audio heard before")
    add("--threads", nargs="+", type=_positive, metavar="N", help="the first is the usual one")
    add("--streams", nargs="+", type=_positive, metavar="N", help="in one batch")
    add("--baseline", default=str(BASELINE), metavar="YAML", help="a chunk-Conformer, or 'none'")
    add("--agent", action="store_true",
        help=f"whole agents on {AGENT_S} s of audio, the baseline too; takes minutes")  # fmt: skip
    add("--memory", nargs="?", const=30.0, type=float, metavar="MINUTES",
        help="step through so much audio and watch the resident set (%(const)s)")  # fmt: skip
    add("--graphs", type=Path, metavar="DIR", help="keep compiled graphs there for the next run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = build_parser()
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    command = shlex.join(["python", "-m", "eval.bench", *arguments])
    threads = torch.get_num_threads()
    try:
        run(args, command)
    except EchoStreamError as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads)
    return 0


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print, write.

    Raises:
        ConfigError: for options that do not fit the configuration.
    """
    torch.manual_seed(1)
    config = load_config(args.config).encoder
    encoder = registry.create(config).eval()
    if not encoder.capabilities.compilable:
        raise ConfigError(f"{args.config} describes {config.name}; expected a zipformer")
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="echostream-bench-") as temporary:
        streams = Streams(encoder, args.graphs or Path(temporary))
        plan = plan_of(args, encoder.config)
        results = encoder_results(args, plan, encoder, streams)
        agents, audio_s = agent_times(args, plan, results, Path(temporary))
        long_streams = memory_checks(args, results, streams)
    summary = {
        **results.summary(),
        **agent_summary(agents),
        **{f"memory_growth_bytes_{name}": x.growth_bytes for name, x in long_streams.items()},
    }
    figures = {
        "command": command,
        "config": str(args.config),
        "baseline": args.baseline,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "encoder": asdict(config),
        "machine": {**machine(), "last_cache_bytes": last_cache_bytes()},
        "versions": versions(),
        "load_average_before": load_before,
        "load_average_after": os.getloadavg(),
        "limits": {n: asdict(results.limits_p50(n)) for n in plan.threads},
        "summary": summary,
        "settings": [row.mapping() for row in results.rows],
        "agents": {
            agent.name: {
                "stages_ms": agent.stages(),
                "beside_encoder": agent.beside_encoder(),
                "heads_over_encoder": agent.heads_over_encoder(),
                "wall_s": agent.total_wall_s,
                "cpu_s": agent.total_cpu_s,
                "audio_s": audio_s,
            }
            for agent in agents
        },
        "memory": {name: asdict(found) for name, found in long_streams.items()},
    }
    print("\n".join(head_lines(figures, results)))
    print(*("\n" + text for text in tables(results)), sep="\n")
    lines = agents_lines(agents, audio_s)
    lines += [long_stream_line(name, found) for name, found in long_streams.items()]
    print(*(["", *lines] if lines else []), "", NOTES, "", "summary", sep="\n")
    print(*(f"  {name}: {value}" for name, value in summary.items()), sep="\n")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if args.plots:
        from eval.bench.plots import draw_plots

        draw_plots(results, args.plots)


def plan_of(args: argparse.Namespace, config: EncoderConfig) -> Plan:
    """What to vary, by the options."""
    names = args.backends or installed_backends(at_once=False)
    given = any((args.chunks, args.threads, args.streams))
    cores = os.cpu_count() or 1
    futures = dict.fromkeys((config.max_future_frames, *FUTURES))
    return Plan(
        chunk_ms=config.chunk_size * ENCODER_FRAME_MS,
        max_future_frames=config.max_future_frames,
        backends=tuple((name, precision) for name in names for precision in precisions_of(name)),
        chunks=tuple(args.chunks or CHUNKS),
        positions=tuple(args.positions or (QUICK_POSITIONS if args.quick else POSITIONS)),
        threads=tuple(args.threads or ((1,) if args.quick or cores < 2 else (1, 2))),
        streams=tuple(args.streams or ((1,) if args.quick else STREAMS)),
        futures=tuple(futures),
        only_torch=args.quick and not given,
    )


def encoder_results(
    args: argparse.Namespace, plan: Plan, encoder: ZipformerEncoder, streams: Streams
) -> Results:
    """Everything about encoders, from one interleaved run."""
    torch.set_num_threads(plan.threads[0])
    cases = plan.cases()
    measured: list[Measured] = []
    for case in _progress("preparing", cases):
        torch.set_num_threads(case.threads)
        measured.append(streams.measured(case))
    torch.set_num_threads(plan.threads[0])
    if args.baseline != "none":
        measured += baseline_measured(args, plan)
    limits = {n: LimitSettings(weight_bytes(encoder), n, last_cache_bytes()) for n in plan.threads}
    settings = [setting for of_threads in limits.values() for setting in of_threads.settings]
    measure(
        [*settings, *(found.setting for found in measured)],
        args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS),
        set_threads=torch.set_num_threads,
        progress=lambda numbers: _progress("rounds", list(numbers)),
    )
    torch.set_num_threads(plan.threads[0])
    # What was measured holds its graphs, gigabytes of them.
    for found in measured:
        found.setting.run = _measured
    streams.forget()
    gc.collect()
    return Results(measured, {n: found.by_round() for n, found in limits.items()}, plan)


def baseline_measured(args: argparse.Namespace, plan: Plan) -> list[Measured]:
    """The baseline's settings."""
    config = load_config(args.baseline).encoder
    if not isinstance(config, ChunkConformerConfig):
        raise ConfigError(f"{args.baseline} describes {config.name}; expected a chunk-conformer")
    encoder = ChunkConformerEncoder.from_config(config).eval()
    positions = [seconds for seconds in plan.positions if seconds <= BASELINE_MOST_S]
    if args.quick:
        positions = positions[:1]
    chunks = () if plan.only_torch else [ms for ms in plan.chunks if _streamable(encoder, ms)]
    if not positions or not _streamable(encoder, plan.chunk_ms):
        return []
    cases = baseline_cases(plan.chunk_ms, chunks, positions, plan.threads[0])
    return [measured_baseline(encoder, case) for case in _progress("preparing baseline", cases)]


def _streamable(encoder: ChunkConformerEncoder, chunk_ms: int) -> bool:
    try:
        encoder.init_state(1, chunk_size=chunk_ms // encoder.frame_ms)
    except ConfigError:
        return False
    return chunk_ms % encoder.frame_ms == 0


def agent_times(
    args: argparse.Namespace, plan: Plan, results: Results, folder: Path
) -> tuple[list[AgentTimes], float]:
    """Whole agents under SimulEval's interface, and the audio they heard, s."""
    if args.quick and not args.agent:
        return [], 0.0
    from eval.bench.simuleval_agents import compare_agents

    backends = dict.fromkeys((results.best_float32.case.backend, "torch"))
    baseline = None if args.baseline == "none" or not args.agent else args.baseline
    seconds = AGENT_S if args.agent else STAGES_S
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        agents = process.submit(
            compare_agents, args.config, list(backends), baseline, plan.chunk_ms, seconds, folder,
            progress=partial(_progress, "agents"),
        ).result()  # fmt: skip
    return agents, seconds


def agent_summary(agents: Sequence[AgentTimes]) -> dict[str, Any]:
    """The aims for whole agents; the first is the fastest backend's."""
    if not agents:
        return {}
    first = agents[0]
    found: dict[str, Any] = {
        "agent_beside_encoder": round(first.beside_encoder(), 4),
        "heads_over_encoder": round(first.heads_over_encoder(), 4),
    }
    for other in agents:
        if "recompute" in other.name:
            found["agent_recompute_over_echostream"] = round(
                other.total_wall_s / first.total_wall_s, 1
            )
            found["agent_recompute_over_echostream_cpu"] = round(
                other.total_cpu_s / first.total_cpu_s, 1
            )
    return found


def memory_checks(
    args: argparse.Namespace, results: Results, streams: Streams
) -> dict[str, LongStream]:
    """A long stream in the fastest float32 backend and in torch."""
    if args.memory is None:
        return {}
    found = {}
    for case in dict.fromkeys((results.best_float32.case, results.plan.reference())):
        if results.get(case) is None:
            continue
        encoder = streams.backend(case)
        state = encoder.init_state(
            1,
            chunk_size=case.chunk_ms // ENCODER_FRAME_MS,
            max_future_frames=case.max_future_frames,
        )
        seconds = 60 * args.memory
        found[case.backend] = long_stream(encoder, state, seconds, window_s=seconds / 60)
    return found


def head_lines(figures: dict[str, Any], results: Results) -> list[str]:
    """What ran where."""
    where, before, after = (
        figures["machine"],
        figures["load_average_before"],
        figures["load_average_after"],
    )
    reference = results.rows[0]
    return [
        f"$ {figures['command']}",
        f"{figures['config']}: {figures['parameters'] / 1e6:.2f}M parameters, "
        f"{reference.weight_bytes / 1e6:.1f} MB; a chunk of {results.plan.chunk_ms} ms takes "
        f"{reference.multiply_adds / 1e6:.1f}M multiply-adds",
        f"{where['processor']}, {where['cores']} cores, last cache "
        f"{where['last_cache_bytes'] / 2**20:.0f} MiB; {where['system']}; "
        + ", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        f"load average {before[0]:.2f} before, {after[0]:.2f} after; "
        f"{max(row.rounds for row in results.rows)} rounds",
        *limits_lines(results),
    ]


def _measured() -> None:
    """In the place of what has been measured."""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def _progress(what: str, items: Iterable[Item]) -> Iterable[Item]:
    """The items, with a bar on standard error if that is a terminal."""
    return tqdm(items, desc=what, disable=None)


if __name__ == "__main__":
    sys.exit(main())
