"""What the encoder costs, against the machine's own limits, as tables.

    python -m eval.bench --config configs/base.yaml
    python -m eval.bench --config configs/base.yaml --quick --output FILE

Every backend and precision that is installed, the baseline as published and with caches, and the
machine's matrix-multiply peak and memory bandwidth are measured in one run, in turn, round after
round; figures are medians, and comparisons hold within one run only. Weights and features are
random, which costs what real ones do. docs/speed.md says how it is measured and how to read it.
"""

import argparse
import gc
import logging
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from echostream.backend import installed_backends, precisions_of
from echostream.baseline import ChunkConformerEncoder
from echostream.commands import positive
from echostream.config import ChunkConformerConfig, EncoderConfig, load_config
from echostream.constants import BACKENDS, ENCODER_FRAME_MS
from echostream.encoder import ZipformerEncoder, registry
from echostream.errors import ConfigError, EchoStreamError
from eval.bench.agents import AgentTimes, compare_agents
from eval.bench.cases import Plan, baseline_cases
from eval.bench.limits import LimitSettings, last_cache_bytes, weight_bytes
from eval.bench.memory import LongStream, long_stream
from eval.bench.rounds import measure
from eval.bench.rows import Results, rounded
from eval.bench.streams import Measured, Streams, measured_baseline
from eval.bench.tables import NOTES, agents_table, limits_lines, long_stream_line, tables
from eval.command import ROOT, heading, parser_of, write_results

ROUNDS, QUICK_ROUNDS = 40, 10
CHUNKS = (160, 320, 640, 1280)
POSITIONS, QUICK_POSITIONS = (10, 60, 1800), (10, 60)
STREAMS = (1, 2, 4, 8, 16)
FUTURES = (0, 1, 4, None)

BASELINE_MOST_S = 60
"""The baseline's cost grows with what was heard, so it is measured up to here only."""

AGENT_S, STAGES_S = 60, 20
"""Recordings for whole agents, with the baseline and without."""

_bar = partial(tqdm, disable=None)


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = parser_of("bench", __doc__)
    add = parser.add_argument
    add("--config", type=Path, default=ROOT / "configs" / "base.yaml", metavar="YAML")
    add("--quick", action="store_true", help="fewer rounds; chunk, look-ahead and position vary in "
        "torch alone")  # fmt: skip
    add("--output", type=Path, metavar="FILE", help="write all figures as JSON")
    add("--rounds", type=positive, help=f"of every setting ({ROUNDS}, quick {QUICK_ROUNDS})")
    add("--backends", nargs="+", choices=BACKENDS[:-1], help="default: all that are installed")
    add("--chunks", nargs="+", type=positive, metavar="MS", help="multiples of 160 ms")
    add("--positions", nargs="+", type=positive, metavar="S", help="audio heard before")
    add("--threads", nargs="+", type=positive, metavar="N", help="the first is the usual one")
    add("--streams", nargs="+", type=positive, metavar="N", help="in one batch")
    add("--baseline", default=str(ROOT / "configs" / "streamspeech.yaml"), metavar="YAML",
        help="a chunk-Conformer, or 'none'")  # fmt: skip
    add("--agent", action="store_true",
        help=f"whole agents on {AGENT_S} s of audio, the baseline too; takes minutes")  # fmt: skip
    add("--memory", nargs="?", const=30.0, type=_minutes, metavar="MINUTES",
        help="step through so much audio and watch the resident set (%(const)s)")  # fmt: skip
    add("--graphs", type=Path, metavar="DIR", help="keep compiled graphs there for the next run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    threads = torch.get_num_threads()
    try:
        run(args, heading("bench", argv))
    except EchoStreamError as error:
        parser.error(str(error))
    finally:
        torch.set_num_threads(threads)
    return 0


def run(args: argparse.Namespace, head: dict[str, Any]) -> None:
    """Measure, print, write.

    Raises:
        ConfigError: for options that do not fit the configuration.
    """
    torch.manual_seed(1)
    config = load_config(args.config).encoder
    encoder = registry.create(config).eval()
    if not encoder.capabilities.compilable:
        raise ConfigError(f"{args.config} describes {config.name}; expected a zipformer")
    baseline = None if args.baseline == "none" else load_baseline(args.baseline)
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="echostream-bench-") as temporary:
        streams = Streams(encoder, args.graphs or Path(temporary))
        plan = plan_of(args, encoder.config)
        results = encoder_results(args, plan, encoder, baseline, streams)
        agents, audio_s = agent_times(args, plan, results, Path(temporary))
        long_streams = memory_checks(args, results, streams)
    summary = {
        **results.summary(),
        **agent_summary(agents),
        **{f"memory_growth_bytes_{name}": x.growth_bytes for name, x in long_streams.items()},
    }
    head["machine"]["last_cache_bytes"] = last_cache_bytes()
    figures = {
        **head,
        "config": str(args.config),
        "baseline": args.baseline,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "encoder": asdict(config),
        "load_average": [load_before[0], os.getloadavg()[0]],
        "limits": {n: asdict(results.limits_p50(n)) for n in plan.threads},
        "summary": summary,
        "settings": [row.mapping() for row in results.rows],
        "agents": [{**asdict(agent), "stages_ms": agent.stages()} for agent in agents],
        "memory": {name: asdict(found) for name, found in long_streams.items()},
    }
    print(*head_lines(figures, results), sep="\n")
    print(*("\n" + text for text in tables(results)), sep="\n")
    lines = [agents_table(agents, audio_s)] if agents else []
    lines += [long_stream_line(name, found) for name, found in long_streams.items()]
    print(*(["", *lines] if lines else []), "", NOTES, "", "summary", sep="\n")
    print(*(f"  {name}: {value}" for name, value in summary.items()), sep="\n")
    if args.output:
        write_results(args.output, figures)


def plan_of(args: argparse.Namespace, config: EncoderConfig) -> Plan:
    """What to vary, by the options."""
    names = args.backends or installed_backends(at_once=False)
    given = any((args.chunks, args.threads, args.streams))
    cores = os.cpu_count() or 1
    return Plan(
        chunk_ms=config.chunk_size * ENCODER_FRAME_MS,
        max_future_frames=config.max_future_frames,
        backends=tuple((name, precision) for name in names for precision in precisions_of(name)),
        chunks=tuple(args.chunks or CHUNKS),
        positions=tuple(args.positions or (QUICK_POSITIONS if args.quick else POSITIONS)),
        threads=tuple(args.threads or ((1,) if args.quick or cores < 2 else (1, 2))),
        streams=tuple(args.streams or ((1,) if args.quick else STREAMS)),
        futures=tuple(dict.fromkeys((config.max_future_frames, *FUTURES))),
        only_torch=args.quick and not given,
    )


def encoder_results(
    args: argparse.Namespace,
    plan: Plan,
    encoder: ZipformerEncoder,
    baseline: ChunkConformerEncoder | None,
    streams: Streams,
) -> Results:
    """Everything about encoders, from one interleaved run."""
    measured: list[Measured] = []
    for case in _bar(plan.cases(), desc="preparing"):
        torch.set_num_threads(case.threads)
        measured.append(streams.measured(case))
    torch.set_num_threads(plan.threads[0])
    if baseline is not None:
        measured += baseline_measured(args, plan, baseline)
    limits = {n: LimitSettings(weight_bytes(encoder), n, last_cache_bytes()) for n in plan.threads}
    settings = [setting for of_threads in limits.values() for setting in of_threads.settings]
    measure(
        [*settings, *(found.setting for found in measured)],
        args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS),
        set_threads=torch.set_num_threads,
        progress=partial(_bar, desc="rounds"),
    )
    torch.set_num_threads(plan.threads[0])
    # What was measured holds its graphs, gigabytes of them.
    for found in measured:
        found.setting.run = lambda: None
    streams.forget()
    gc.collect()
    return Results(measured, {n: found.by_round() for n, found in limits.items()}, plan)


def load_baseline(path: str) -> ChunkConformerEncoder:
    """The baseline's encoder with random weights."""
    config = load_config(path).encoder
    if not isinstance(config, ChunkConformerConfig):
        raise ConfigError(f"{path} describes {config.name}; expected a chunk-conformer")
    return ChunkConformerEncoder.from_config(config).eval()


def baseline_measured(
    args: argparse.Namespace, plan: Plan, encoder: ChunkConformerEncoder
) -> list[Measured]:
    """The baseline's settings."""

    def streamable(chunk_ms: int) -> bool:
        try:
            encoder.init_state(1, chunk_size=chunk_ms // encoder.frame_ms)
        except ConfigError:
            return False
        return chunk_ms % encoder.frame_ms == 0

    positions = [seconds for seconds in plan.positions if seconds <= BASELINE_MOST_S]
    if args.quick:
        positions = positions[:1]
    if not positions or not streamable(plan.chunk_ms):
        return []
    cases = baseline_cases(
        plan, () if plan.only_torch else list(filter(streamable, plan.chunks)), positions
    )
    return [measured_baseline(encoder, case) for case in _bar(cases, desc="preparing baseline")]


def agent_times(
    args: argparse.Namespace, plan: Plan, results: Results, folder: Path
) -> tuple[list[AgentTimes], float]:
    """Whole agents under SimulEval's interface, and the audio they heard, s.

    In a process of their own, as an agent has: in one that has held dozens of compiled encoders
    before, memory is in pieces, and all that is not the encoder takes longer.
    """
    if args.quick and not args.agent:
        return [], 0.0
    backends = dict.fromkeys((results.best_float32.case.backend, "torch"))
    baseline = None if args.baseline == "none" or not args.agent else args.baseline
    seconds = AGENT_S if args.agent else STAGES_S
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        agents = process.submit(
            compare_agents, args.config, list(backends), baseline, plan.chunk_ms, seconds, folder,
            progress=partial(_bar, desc="agents"),
        ).result()  # fmt: skip
    return agents, seconds


def agent_summary(agents: Sequence[AgentTimes]) -> dict[str, Any]:
    """The aims for whole agents; the first is the fastest backend's."""
    if not agents:
        return {}
    first, last = agents[0], agents[-1]
    found = {
        "agent_beside_encoder": first.beside_encoder(),
        "heads_over_encoder": first.heads_over_encoder(),
    }
    if "recompute" in last.name:
        name = "agent_recompute_over_echostream"
        found[name] = sum(last.wall_ms) / sum(first.wall_ms)
        found[f"{name}_cpu"] = sum(last.cpu_ms) / sum(first.cpu_ms)
    return rounded(found)


def memory_checks(
    args: argparse.Namespace, results: Results, streams: Streams
) -> dict[str, LongStream]:
    """A long stream in the fastest float32 backend and in torch."""
    found = {}
    for case in dict.fromkeys((results.best_float32.case, results.plan.reference())):
        if args.memory is not None and results.get(case) is not None:
            encoder = streams.backend(case)
            state = encoder.init_state(
                1,
                chunk_size=case.chunk_ms // ENCODER_FRAME_MS,
                max_future_frames=case.max_future_frames,
            )
            found[case.backend] = long_stream(encoder, state, 60 * args.memory)
    return found


def head_lines(figures: dict[str, Any], results: Results) -> list[str]:
    """What ran where."""
    where, (before, after) = figures["machine"], figures["load_average"]
    reference = results.rows[0]
    return [
        f"$ {figures['command']}",
        f"{figures['config']}: {figures['parameters'] / 1e6:.2f}M parameters, "
        f"{reference.weight_bytes / 1e6:.1f} MB; a chunk of {results.plan.chunk_ms} ms takes "
        f"{reference.multiply_adds / 1e6:.1f}M multiply-adds",
        f"{where['processor']}, {where['cores']} cores, last cache "
        f"{where['last_cache_bytes'] / 2**20:.0f} MiB; {where['system']}; "
        + ", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        f"load average {before:.2f} before, {after:.2f} after; "
        f"{max(row.rounds for row in results.rows)} rounds",
        *limits_lines(results),
    ]


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.01 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; expected minutes, 0.01 or more")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
