"""F36 to F39: states that are kept, saved, restored, also by a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from echostream.constants import SAMPLE_RATE
from echostream.errors import StateMismatchError
from echostream.session.saved_stream import restore_stream, save_stream
from tests.faults.conftest import ROOT, assert_equal_states, hear
from tests.small_system import audio


def begun(translator: Any, seconds: float = 1.0) -> Any:
    return translator.step(audio(seconds), SAMPLE_RATE, translator.init_state(), is_final=False)[1]


@pytest.mark.parametrize("other", [{"task": "asr"}, {"chunk_ms": 640}, {"policy": "offline"}])
def test_F36_a_state_of_another_configuration_is_refused(translate: Any, other: Any) -> None:
    translator = translate()
    data = save_stream(translator, begun(translator))
    with pytest.raises(StateMismatchError, match="fingerprint"):
        restore_stream(translate(**other), data)


def test_F36_a_state_of_another_model_is_refused(translate: Any, shipped: Any) -> None:
    translator = translate()
    with pytest.raises(StateMismatchError, match="fingerprint"):
        restore_stream(shipped, save_stream(translator, begun(translator)))


def test_F37_cut_and_altered_bytes_are_refused(translate: Any) -> None:
    translator = translate()
    data = save_stream(translator, begun(translator))
    chance = np.random.default_rng(0)
    for length in (0, 1, 12, len(data) // 3, len(data) - 1):
        with pytest.raises(StateMismatchError):
            restore_stream(translator, data[:length])
    for position in chance.integers(0, len(data), 50).tolist():
        altered = bytearray(data)
        altered[position] ^= 1 << int(chance.integers(8))
        with pytest.raises(StateMismatchError):
            restore_stream(translator, bytes(altered))
    with pytest.raises(StateMismatchError):
        restore_stream(translator, data + b"\0")


def test_F38_two_branches_of_one_state_do_not_meet(translate: Any) -> None:
    translator = translate(policy="stub", decoder="prefix-beam")
    state = begun(translator)
    before = save_stream(translator, state)
    one, other = audio(1.0, seed=5), audio(1.0, seed=6)
    first = hear(translator, one, state=state)
    hear(translator, other, 777, state=state)
    again = hear(translator, one, state=state)
    assert again.decisions == first.decisions
    assert_equal_states(again.state, first.state)
    assert save_stream(translator, state) == before


NEW_PROCESS = """
import sys, pathlib, numpy
from echostream.session import AgentOptions, build_translator
from echostream.session.saved_stream import restore_stream, save_stream
translator = build_translator(AgentOptions(checkpoint=sys.argv[1]))
folder = pathlib.Path(sys.argv[2])
state = restore_stream(translator, (folder / "state").read_bytes())
_, state = translator.step(numpy.load(folder / "rest.npy"), 16000, state, is_final=False)
(folder / "after").write_bytes(save_stream(translator, state))
"""


def test_F39_a_new_process_goes_on_to_the_bit(
    checkpoint: Path, translate: Any, tmp_path: Path
) -> None:
    translator = translate()
    state = begun(translator, 1.3)
    rest = audio(1.1, seed=3)
    (tmp_path / "state").write_bytes(save_stream(translator, state))
    np.save(tmp_path / "rest.npy", rest)
    command = [sys.executable, "-c", NEW_PROCESS, str(checkpoint), str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    _, state = translator.step(rest, SAMPLE_RATE, state, is_final=False)
    assert (tmp_path / "after").read_bytes() == save_stream(translator, state)


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


def test_F39_a_killed_run_goes_on_and_writes_the_same_log(checkpoint: Path, tmp_path: Path) -> None:
    """SimulEval's command line, killed twice; every segment is computed but once, except those of
    the first recording, whose line was still in SimulEval's buffer."""
    (tmp_path / "agent.py").write_text(MORTAL)
    for number, seconds in enumerate((1.0, 2.6)):  # 4 and 9 segments
        soundfile.write(tmp_path / f"{number}.wav", audio(seconds, seed=number), SAMPLE_RATE)
    (tmp_path / "sources").write_text(f"{tmp_path}/0.wav\n{tmp_path}/1.wav\n")
    (tmp_path / "targets").write_text("the cat sat\nthe dog ran\n")

    def simuleval(output: str, dies_after: int, *options: str) -> int:
        command = [
            str(Path(sys.executable).with_name("simuleval")),
            *("--agent", "agent.py", "--source", "sources", "--target", "targets"),
            *("--output", output, "--source-segment-size", "320"),
            *("--checkpoint", str(checkpoint), *options),
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

    assert simuleval("whole", 99) == 0
    (tmp_path / "computed").unlink()
    goes_on = ("--save-state", "state", "--continue-unfinished")
    # In the second recording: after its first segment, then after its sixth, then not at all.
    for dies_after in (5, 10):
        assert simuleval("parts", dies_after, *goes_on) == -signal.SIGKILL
        assert lines("parts") == []
    assert simuleval("parts", 99, *goes_on) == 0
    expected = lines("whole")
    assert lines("parts") == expected
    assert all(line["prediction"] for line in expected)
    # Nothing of the second recording is computed twice.
    assert len((tmp_path / "computed").read_text()) == 3 * 4 + 9
