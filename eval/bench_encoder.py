"""Time and memory of the streaming encoder, as tables.

    python -m eval.bench_encoder --config configs/base.yaml

One thread unless told otherwise; random weights and random features, which cost what real ones do.
All settings are measured in turn, round after round, so that a change in the machine's speed
falls on all of them alike; the figures are medians, and comparisons hold within one run only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from echostream.config import EncoderConfig, load_config
from echostream.constants import ENCODER_FRAME_MS, FRAME_SHIFT_MS
from echostream.encoder import StreamState, ZipformerEncoder

OFFLINE_SECONDS = 10


@dataclass
class Setting:
    """One way to run the encoder, and its times."""

    name: str
    chunk_ms: int
    max_future_frames: int | None
    state_bytes: int
    run: Callable[[], object] = field(repr=False)
    audio_ms: int = 0
    wall_ms: list[float] = field(default_factory=list, repr=False)
    cpu_ms: list[float] = field(default_factory=list, repr=False)

    def measure(self) -> None:
        """Run once and note wall and CPU time."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.run()
        self.wall_ms.append(1000 * (time.perf_counter() - wall))
        self.cpu_ms.append(1000 * (time.process_time() - cpu))

    def row(self) -> dict[str, object]:
        """What the table and the JSON file show."""
        ordered = sorted(self.wall_ms)
        p50 = statistics.median(ordered)
        return {
            "setting": self.name,
            "wall_ms_p50": round(p50, 2),
            "wall_ms_p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
            "cpu_ms_p50": round(statistics.median(self.cpu_ms), 2),
            "compute_rtf": round(p50 / self.audio_ms, 4),
            "algorithmic_latency_ms": self.chunk_ms,
            "state_bytes": self.state_bytes,
        }


def streaming(
    encoder: ZipformerEncoder, chunk_ms: int, future: int | None, heard_s: int
) -> Setting:
    """One chunk in mid-stream, after ``heard_s`` seconds."""
    state = encoder.init_state(1, chunk_size=chunk_ms // ENCODER_FRAME_MS, max_future_frames=future)
    features = torch.randn(1, chunk_ms // FRAME_SHIFT_MS, encoder.config.input_dim)
    for _ in range(max(1, 1000 * heard_s // chunk_ms)):
        _, _, state = encoder.step(features, state)
    held: list[StreamState] = [state]

    def run() -> None:
        _, _, held[0] = encoder.step(features, held[0])

    label = "chunk" if future is None else str(future)
    name = f"streaming, chunk {chunk_ms} ms, L = {label}, after {heard_s} s"
    return Setting(name, chunk_ms, future, state.nbytes, run, audio_ms=chunk_ms)


def offline(encoder: ZipformerEncoder, chunk_ms: int) -> Setting:
    """A whole recording at once, under the same chunk mask."""
    frames = 1000 * OFFLINE_SECONDS // FRAME_SHIFT_MS
    features = torch.randn(1, frames, encoder.config.input_dim)
    chunk = chunk_ms // ENCODER_FRAME_MS

    @torch.no_grad()
    def run() -> None:
        encoder(features, chunk_size=chunk)

    name = f"offline, {OFFLINE_SECONDS} s, chunk {chunk_ms} ms"
    return Setting(name, chunk_ms, None, 0, run, audio_ms=1000 * OFFLINE_SECONDS)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m eval.bench_encoder", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/base.yaml"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40, help="of every setting (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="10 rounds")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    config = load_config(args.config).encoder
    if not isinstance(config, EncoderConfig):
        parser.error(f"{args.config} describes {config.name}; expected a zipformer")
    encoder = ZipformerEncoder.from_config(config).eval()
    parameters = sum(p.numel() for p in encoder.parameters())

    settings = [streaming(encoder, ms, None, 10) for ms in (160, 320, 640, 1280)]
    settings += [streaming(encoder, 320, future, 10) for future in (0, 1, 4)]
    settings += [streaming(encoder, 320, None, 60), offline(encoder, 320)]
    for setting in settings:
        setting.run()
    for _ in range(10 if args.quick else args.rounds):
        for setting in settings:
            setting.measure()

    rows = [setting.row() for setting in settings]
    by_name = {setting.name: setting for setting in settings}
    stream = by_name["streaming, chunk 320 ms, L = chunk, after 10 s"].row()["compute_rtf"]
    whole = settings[-1].row()["compute_rtf"]
    ratio = float(str(stream)) / float(str(whole))
    print(f"{args.config}: {parameters / 1e6:.2f}M parameters, {args.threads} thread(s)")
    print(f"{'setting':52} {'p50 ms':>8} {'p95 ms':>8} {'CPU ms':>8} {'RTF':>7} {'state kB':>9}")
    for row, setting in zip(rows, settings, strict=True):
        print(
            f"{setting.name:52} {row['wall_ms_p50']:8} {row['wall_ms_p95']:8} "
            f"{row['cpu_ms_p50']:8} {row['compute_rtf']:7} {setting.state_bytes / 1000:9.0f}"
        )
    print(f"streaming / offline per second of audio, chunk 320 ms: {ratio:.2f}")
    if args.output:
        figures = {
            "config": str(args.config),
            "parameters": parameters,
            "threads": args.threads,
            "torch": torch.__version__,
            "encoder": asdict(encoder.config),
            "summary": {"streaming_over_offline": round(ratio, 3)},
            "settings": rows,
        }
        args.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
