"""Clients in real time against `echostream serve`: what does one machine carry, and for how long?

    python -m eval.live --clients 16 --minutes 5
    python -m eval.live --clients 16 --minutes 120
    python -m eval.live --clients 4 --checkpoint whisper-base-streaming --source-language es

A server is started as a process of its own. Clients play recordings to it as they were spoken,
stream after stream, and beside them one client of each kind that misbehaves: one that hardly
reads, a silent one, one that sends garbage, one that vanishes and comes back. What must hold:

- every stream's words are those of a session that hears nothing else;
- 95 % of words are there within one chunk of the end of their chunk;
- no stream falls behind real time by more than a chunk, for more than one moment in twenty;
- after ten minutes or more: the server's memory has not grown;
- who misbehaves is dropped with the right code, and who came back has lost no word.

Slopes are Theil-Sen, as in `eval.soak`; times include those of this program, which needs part of a
core itself. The verdict, also as JSON in --output, is 0 when all holds.
"""

import asyncio
import logging
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from echostream.commands import positive
from echostream.commands.system import add_system_arguments, translator_of
from eval.command import ROOT, ended, heading, parser_of, write_results
from eval.live.clients import MISCHIEF, Record, rounds, speaker
from eval.live.served import Moment, Served
from eval.live.talks import Talk, make_talks
from eval.soak import WARM_UP, find_speech, slope
from eval.verdict import memory_problems, verdict

MAX_MEMORY_GROWTH = 8 * 2**20
"""Bytes that the server's memory may have grown by over the whole run, by its slope."""

LONG_S = 600.0
"""Of a run that says something about growth."""

MOST_MOMENTS = 200

IDLE_S = 10
"""After which the server drops a silent client."""


async def run(
    server: Served, record: Record, args: Namespace, talks: Sequence[Talk]
) -> list[Moment]:
    """All clients for so many minutes; what was seen of the server meanwhile."""
    seconds = 60 * args.minutes
    url = server.url.replace("http", "ws", 1)
    clients = [
        asyncio.create_task(rounds(client, url, talks, first, seconds, record))
        for first, client in enumerate((*(speaker for _ in range(args.clients)), *MISCHIEF))
    ]
    moments = []
    while not all(task.done() for task in clients):
        await asyncio.wait(clients, timeout=max(1.0, seconds / MOST_MOMENTS))
        moments.append(await asyncio.to_thread(server.look))
    await asyncio.gather(*clients)
    last = await asyncio.to_thread(server.look)
    if last.clients:
        record.fault(f"{last.clients} clients are left when all have gone; expected none")
    return moments


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Below which so many per cent of them are; 0 of none."""
    return 1000 * float(np.percentile(seconds, percent)) if seconds else 0.0


def summary(record: Record, moments: Sequence[Moment]) -> dict[str, float]:
    """The figures; times in ms, memory in bytes."""
    settled = moments[int(WARM_UP * len(moments)) :]
    first, last = settled[0], settled[-1]
    audio_s = last.audio_s - first.audio_s
    return {
        "late_p50": percentile_ms(record.late_s, 50),
        "late_p95": percentile_ms(record.late_s, 95),
        "tail_p95": percentile_ms(record.tail_s, 95),
        "behind_p50": percentile_ms([each.behind_s for each in settled], 50),
        "behind_p95": percentile_ms([each.behind_s for each in settled], 95),
        "slip_p95": percentile_ms(record.slip_s, 95),
        "slip_most": 1000 * max(record.slip_s, default=0.0),
        "memory_begin": first.rss_bytes,
        "memory_end": last.rss_bytes,
        "memory_growth": (last.at_s - first.at_s)
        * slope([each.at_s for each in settled], [each.rss_bytes for each in settled]),
        "cores": (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s),
        "streams_per_core": audio_s / max(1e-9, last.cpu_s - first.cpu_s),
        "streams": audio_s / (last.at_s - first.at_s),
    }


def problems_of(
    figures: dict[str, float], record: Record, chunk_ms: int, seconds: float
) -> list[str]:
    """Why the verdict is not good."""
    found = [f"{count} x {text}" for text, count in record.faults.items()]
    if not record.late_s:
        found.append("no words came; expected recordings of the checkpoint's language")
    if figures["late_p95"] > chunk_ms:
        found.append(
            f"5 % of words came {figures['late_p95']:.0f} ms or more after their chunk; expected "
            f"at most {chunk_ms}"
        )
    # A chunk that is being filled waits too.
    if figures["behind_p95"] > 2 * chunk_ms:
        found.append(
            f"{figures['behind_p95']:.0f} ms of audio waited; expected at most {2 * chunk_ms}"
        )
    if seconds >= LONG_S:
        found += memory_problems(figures["memory_growth"], MAX_MEMORY_GROWTH)
    return found


def report(figures: dict[str, float], record: Record, problems: Sequence[str]) -> str:
    """For people."""
    counts = ", ".join(f"{count} {name}" for name, count in sorted(record.counts.items()))
    times = (
        "from the end of a chunk to its words: {late_p50:.0f} ms (median), {late_p95:.0f} ms (95 %)"
        "; from the end of a stream to its last: {tail_p95:.0f} ms (95 %)\n"
        "audio that waits in the slowest stream: {behind_p50:.0f} ms (median), {behind_p95:.0f} ms "
        "(95 %); messages left {slip_p95:.0f} ms late (95 %), {slip_most:.0f} ms (most)\n"
        "server: {cores:.2f} cores for {streams:.1f} streams in real time, so a core carries "
        "{streams_per_core:.1f}"
    ).format(**figures)
    memory = (
        f"memory {figures['memory_begin'] / 2**20:.1f} -> {figures['memory_end'] / 2**20:.1f} MiB, "
        f"by slope {figures['memory_growth'] / 2**20:+.2f} MiB"
    )
    return "\n".join((counts, times, memory, *verdict(problems)))


def build_parser() -> ArgumentParser:
    """The command's options."""
    parser = parser_of("live", __doc__)
    add = parser.add_argument
    add("--clients", type=positive, default=16, help="that behave (%(default)s)")
    add("--minutes", type=float, default=5.0, help="in which streams begin (%(default)s)")
    add("--talk-s", type=float, default=30.0, help="length of a stream, seconds (%(default)s)")
    add("--data", type=Path, default=ROOT / "data" / "es-en", help="speech (%(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "live", help="results (%(default)s)")
    add("--processes", type=int, help="that compute (as of the server)")
    add("--max-batch", type=int, default=8, help="as of the server (%(default)s)")
    add_system_arguments(parser)
    return parser


def server_arguments(args: Namespace) -> list[str]:
    """Of ``echostream serve``: the options of the system, and places for all clients."""
    own = ("clients", "minutes", "talk_s", "data", "output")
    others = {name: value for name, value in vars(args).items() if name not in own}
    others |= {"max_clients": args.clients + 2 * len(MISCHIEF), "idle_s": IDLE_S}
    return [
        f"--{name.replace('_', '-')}={value}" for name, value in others.items() if value is not None
    ]


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 when everything holds."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")

    def work() -> int:
        translator = translator_of(args)
        talks = make_talks(find_speech(args.data), translator, args.clients, args.talk_s)
        chunk_ms = translator.listener.chunk_ms
        record = Record(translator.listener.right_context_ms)
        with Served(server_arguments(args), args.output / "serve.log") as server:
            moments = asyncio.run(run(server, record, args, talks))
        figures = summary(record, moments)
        problems = problems_of(figures, record, chunk_ms, 60 * args.minutes)
        details = {
            **heading("live", argv),
            "clients": args.clients,
            "chunk_ms": chunk_ms,
            "figures": figures,
            "median_memory": statistics.median(each.rss_bytes for each in moments),
            "counts": record.counts,
            "moments": [asdict(each) for each in moments],
            "problems": problems,
        }
        write_results(args.output / "live.json", details)
        print(report(figures, record, problems))
        return int(bool(problems))

    return ended("live", work)


if __name__ == "__main__":
    sys.exit(main())
