"""Encode recordings once, run many policies on what was kept; ``python -m eval.sweep``.

system = System(SystemOptions(checkpoint="checkpoints/tiny-es-en", chunk_ms=320))
sources = read_sources("wav_list", "references")
encodings = encode(system, sources, segment_ms=320, work=Work(Path("cache"), jobs=2))
folder = run_policy(encodings, policy="wait-k", policy_options="k=3", output="runs/wait-3")

The folder then holds the logs that SimulEval and the agent would have written, with the compute
times of this system on this machine.
"""

from eval.sweep.encodings import Encodings, encode
from eval.sweep.runs import run_policy
from eval.sweep.sources import Source, read_sources
from eval.sweep.system import System
from eval.sweep.work import Work

__all__ = [
    "Encodings",
    "Source",
    "System",
    "Work",
    "encode",
    "read_sources",
    "run_policy",
]
