"""A small corpus for :mod:`scripted_agent`, and the call that runs SimulEval on it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

SEGMENT_MS = 320
SECONDS = (1.7, 1.0, 1.33, 0.9)
SCRIPTS: dict[str, list[tuple[dict[int, str | int], str | int]]] = {
    "words": [
        ({1: "The", 2: "cat sat", 4: "on"}, "the mat."),
        ({}, ""),
        ({2: "One two three", 3: "four"}, "five six seven"),
        ({}, "All at the end."),
    ],
    "pieces": [
        ({1: "▁The", 2: "▁c at ▁sa", 4: "t"}, "▁on ▁the ▁m at ."),
        ({}, ""),
        ({2: "▁One ▁two ▁th", 3: "ree ▁four"}, "▁fi ve"),
        ({}, "▁A ll ▁at ▁the ▁end ."),
    ],
    "speech": [({1: 200, 2: 700, 4: 100}, 650), ({}, 0), ({2: 1000, 3: 250}, 300), ({}, 450)],
}
"""Per utterance: what to write after which segment; the last entry goes out at the end."""
REFERENCES = ("The cat sat on the mat.", "Nothing.", "One two three four.", "All at the very end.")


def run_simuleval(folder: Path, *options: str) -> Path:
    """Write the corpus into ``folder``, run the installed SimulEval there; its output folder."""
    for number, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{number}.wav", np.zeros(int(seconds * 16_000)), 16_000)
    sources = "".join(f"{number}.wav\n" for number in range(len(SECONDS)))
    (folder / "sources.txt").write_text(sources, encoding="utf-8")
    (folder / "references.txt").write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    agent = Path(__file__).with_name("scripted_agent.py")
    command = [sys.executable, "-m", "simuleval.cli", "--agent", str(agent)]
    command += ["--source", "sources.txt", "--target", "references.txt", "--output", "out"]
    command += ["--source-segment-size", str(SEGMENT_MS), "--no-progress-bar", *options]
    # In another process: importing simuleval.cli has side effects.
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    return folder / "out"
