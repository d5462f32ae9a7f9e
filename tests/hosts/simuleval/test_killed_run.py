"""SimulEval's command line, killed and begun again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile

from echostream.constants import SAMPLE_RATE
from echostream.hosts.simuleval.agent import EchoStreamAgent
from tests.hosts.simuleval.evaluator import evaluate
from tests.small_system import audio

ROOT = Path(__file__).parents[3]

MORTAL = """
import os, pathlib, signal
from simuleval.utils import entrypoint
from echostream.hosts.simuleval.agent import EchoStreamAgent

@entrypoint
class Mortal(EchoStreamAgent):
    calls = 0

    def policy(self, states=None):
        # Dies between two segments: before this one is looked at, after the last was answered.
        if self.calls == int(os.environ["DIES_AFTER"]):
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        return super().policy(states)

    def __init__(self, args=None):
        super().__init__(args)
        step = self.translator.step

        def counted(*args, **kwargs):
            with open("computed", "a") as file:
                file.write("x")
            return step(*args, **kwargs)

        self.translator.step = counted
"""


@pytest.mark.fault("F35", "F39")
def test_a_killed_run_goes_on_and_writes_the_same_log(checkpoint: Path, tmp_path: Path) -> None:
    """Every segment is computed but once, except those of the first recording, whose line was still
    in SimulEval's buffer."""
    (tmp_path / "agent.py").write_text(MORTAL)
    for number, seconds in enumerate((1.0, 2.6)):  # 4 and 9 segments
        soundfile.write(tmp_path / f"{number}.wav", audio(seconds, seed=number), SAMPLE_RATE)
    (tmp_path / "sources").write_text(f"{tmp_path}/0.wav\n{tmp_path}/1.wav\n")
    (tmp_path / "targets").write_text("the cat sat\nthe dog ran\n")

    def simuleval(dies_after: int) -> int:
        command = [
            str(Path(sys.executable).with_name("simuleval")),
            *("--agent", "agent.py", "--source", "sources", "--target", "targets"),
            *("--output", "parts", "--source-segment-size", "320"),
            *("--checkpoint", str(checkpoint), "--save-state", "state", "--continue-unfinished"),
        ]
        environment = {**os.environ, "DIES_AFTER": str(dies_after), "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode in (0, -signal.SIGKILL), result.stderr[-2000:]
        return result.returncode

    def lines(output: str) -> list[Any]:
        text = (tmp_path / output / "instances.log").read_text()
        found = [json.loads(line) for line in text.splitlines()]
        for line in found:
            assert len(line.pop("elapsed")) == line["prediction_length"]
        return found

    # After the sixth segment of the second recording, then not at all.
    assert simuleval(10) == -signal.SIGKILL
    assert lines("parts") == []
    assert simuleval(99) == 0
    whole = EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint)))
    evaluate(whole, tmp_path / "sources", tmp_path / "targets", tmp_path / "whole")
    expected = lines("whole")
    assert lines("parts") == expected
    assert all(line["prediction"] for line in expected)
    # Nothing of the second recording is computed twice.
    assert len((tmp_path / "computed").read_text()) == 2 * 4 + 9
