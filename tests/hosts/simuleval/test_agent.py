"""The agent inside SimulEval, and as other hosts use it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from simuleval.agents.actions import ReadAction
from simuleval.data.segments import SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, ConfigError
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.scoring.latency import length_adaptive_average_lagging
from echostream.scoring.log import read_instances
from tests.hosts.simuleval.evaluator import evaluate
from tests.small_system import audio

ROOT = Path(__file__).parents[3]
AGENT = ROOT / "agents" / "echostream_agent.py"


def make_agent(checkpoint: Path, **options: Any) -> EchoStreamAgent:
    return EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), **options))


def segments(samples: np.ndarray, size: int, rate: int = SAMPLE_RATE) -> list[SpeechSegment]:
    """What SimulEval's evaluator sends: lists of floats, or of pairs; the last one finished."""
    return [
        SpeechSegment(
            content=samples[i : i + size].tolist(),
            sample_rate=rate,
            finished=i + size >= len(samples),
            tgt_lang=None,
        )
        for i in range(0, len(samples), size)
    ]


def converse(agent: EchoStreamAgent, sent: list[Any], states: Any = None) -> list[Any]:
    return [agent.pushpop(segment, states) for segment in sent]


def text(answers: list[Any]) -> str:
    return " ".join(answer.content for answer in answers if answer.content)


@pytest.mark.fault("F13")
def test_answers_end_with_exactly_one_finished_segment(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    answers = converse(agent, segments(audio(2.0), 5120))
    assert [answer.finished for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert text(answers)


def test_popping_without_new_audio_reads(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    agent.push(segments(audio(1.0), 5120)[0])
    agent.pop()
    assert isinstance(agent.policy(agent.states), ReadAction)
    assert isinstance(agent.policy(), ReadAction)


@pytest.mark.fault("F09")
def test_empty_recording_ends_with_empty_text(checkpoint: Path) -> None:
    answer = make_agent(checkpoint).pushpop(SpeechSegment(content=[], finished=True))
    assert (answer.content, answer.finished) == ("", True)


@pytest.mark.fault("F19", "F21")
def test_stereo_and_other_rates_are_heard(checkpoint: Path) -> None:
    samples = audio(2.0)
    mono = text(converse(make_agent(checkpoint), segments(samples, 5120)))
    pairs = np.stack([samples, samples], axis=1)
    assert text(converse(make_agent(checkpoint), segments(pairs, 5120))) == mono
    at_44k = np.interp(np.arange(88_200) / 44_100, np.arange(32_000) / 16_000, samples)
    assert text(converse(make_agent(checkpoint), segments(at_44k, 9999, 44_100)))


@pytest.mark.fault("F20", "F23")
def test_missing_or_changing_sample_rate_is_refused(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    with pytest.raises(AudioFormatError, match="sample rate"):
        agent.pushpop(SpeechSegment(content=[0.1] * 100, sample_rate=-1))
    agent = make_agent(checkpoint)
    agent.pushpop(segments(audio(1.0), 1600)[0])
    with pytest.raises(AudioFormatError, match="16000"):
        agent.pushpop(segments(audio(1.0), 1600, 8000)[1])


def test_unread_audio_is_not_kept(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    for segment in segments(audio(5.0), 5120)[:-1]:
        agent.pushpop(segment)
        assert len(agent.states.source) == 0
        assert len(agent.states.unread) == 0


def test_forced_lines_follow_the_recordings(checkpoint: Path, tmp_path: Path) -> None:
    forced = tmp_path / "forced"
    forced.write_text("one two\n\nthree\n", encoding="utf-8")
    agent = make_agent(checkpoint, forced_target=str(forced), policy="wait-k")
    agent.reset()
    heard = []
    for _ in range(3):
        heard.append(text(converse(agent, segments(audio(2.0), 5120))))
        agent.reset()
    assert heard == ["one two", "", "three"]
    later = make_agent(checkpoint, forced_target=str(forced), start_index=2)
    assert text(converse(later, segments(audio(0.5), 5120))) == "three"


def test_an_unfinished_run_goes_on_with_the_first_missing_recording(
    checkpoint: Path, tmp_path: Path
) -> None:
    forced, log, kept = (tmp_path / name for name in ("forced", "instances.log", "segments.log"))
    forced.write_text("one two\n\nthree\n", encoding="utf-8")
    log.write_text('{"index": 0}\n{"index": 1}\n', encoding="utf-8")
    kept.write_text("earlier\n", encoding="utf-8")
    options = {"output": tmp_path, "forced_target": str(forced), "segment_log": str(kept)}
    agent = make_agent(checkpoint, continue_unfinished=True, **options)
    assert text(converse(agent, segments(audio(0.5), 5120))) == "three"
    agent.reset()
    earlier, line = kept.read_text(encoding="utf-8").splitlines()
    assert (earlier, json.loads(line)["index"]) == ("earlier", 2)
    log.write_text('{"index": 0}\n{"ind', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"last line of .*delete it"):
        make_agent(checkpoint, continue_unfinished=True, **options)
    log.unlink()
    assert make_agent(checkpoint, continue_unfinished=True, **options).host_options.start_index == 0


def test_more_recordings_than_forced_lines_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    forced = tmp_path / "forced"
    forced.write_text("one\n", encoding="utf-8")
    agent = make_agent(checkpoint, forced_target=str(forced))
    converse(agent, segments(audio(0.5), 5120))
    agent.reset()
    with pytest.raises(ConfigError, match="recording 2"):
        converse(agent, segments(audio(0.5), 5120))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "waitk"}, "wait-k"),
        ({"policy": "wait-k", "policy_options": "k"}, "name=value"),
        ({"policy": "wait-k", "policy_options": "kk=3"}, "'k'"),
        ({"chunk_ms": 100}, "multiple of 160"),
        ({"max_future_frames": "some"}, "chunk"),
        ({"max_future_frames": "²"}, "chunk"),
        ({"task": "s2s"}, "s2tt"),
        ({"random_weights": "configs/base.yaml", "checkpoint": None}, "--forced-target"),
        ({"forced_target": "no/such/file"}, "no/such/file"),
        ({"threads": 0}, "threads"),
    ],
)
def test_wrong_options_say_what_to_do(
    checkpoint: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        EchoStreamAgent(SimpleNamespace(**{"checkpoint": str(checkpoint), **options}))


@pytest.mark.fault("F33")
@pytest.mark.parametrize("device", ["cuda:99x", "tpu9"])
def test_unknown_device_is_refused(checkpoint: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="--device"):
        make_agent(checkpoint).to(device, fp16=False)


def test_parser_leaves_the_hosts_options_alone() -> None:
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    own = ["--source-segment-size", "--device", "--dtype", "--fp16", "--output", "--demo"]
    for flag in own:
        parser.add_argument(flag, help="the host's")
    EchoStreamAgent.add_args(parser)
    helps = {flag: action.help for action in parser._actions for flag in action.option_strings}
    assert all(helps[flag] == "the host's" for flag in own)


def lines_of(output: Path) -> list[Any]:
    lines = (output / "instances.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_forced_writer_on_random_base_weights_has_the_laal_of_its_schedule(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "recording.wav", audio(3.2), SAMPLE_RATE)
    (tmp_path / "list").write_text(f"{tmp_path}/recording.wav\n")
    (tmp_path / "forced").write_text("a b c d e f g h\n")
    options = {
        "random_weights": str(ROOT / "configs" / "base.yaml"),
        "forced_target": str(tmp_path / "forced"),
        "policy": "wait-k",
        "policy_options": "k=3",
    }
    agent = EchoStreamAgent(SimpleNamespace(**options))
    evaluate(agent, tmp_path / "list", tmp_path / "forced", tmp_path / "out")
    lines = lines_of(tmp_path / "out")
    # Word i comes after chunk 3 + i, that is at 960 + 320 i ms; the last one at the end, 3200 ms.
    assert lines[0]["prediction"] == "a b c d e f g h"
    assert lines[0]["delays"] == [960 + 320 * i for i in range(8)]
    # LAAL: mean over i of delay - i * 3200 / 8 = 960 - 80 i, which is 960 - 80 * 3.5.
    (instance,) = read_instances(tmp_path / "out" / "instances.log")
    laal = length_adaptive_average_lagging(instance.delays, instance.source_length, 8)
    assert laal == pytest.approx(680.0)


def test_wrong_options_end_the_command_line_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("x\n")
    command = [
        str(Path(sys.executable).with_name("simuleval")),
        *("--agent", str(AGENT), "--source", "list", "--target", "list"),
        *("--checkpoint", "no/such/folder"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("echostream: error: cannot read no/such/folder")
    assert "Traceback" not in result.stderr


def test_a_chosen_channel_is_the_one_that_is_heard(checkpoint: Path) -> None:
    speech = audio(2.0)
    call = np.stack((speech, -speech), axis=1)
    for channel, mono in (("left", speech), ("right", -speech)):
        agent = make_agent(checkpoint, channel=channel)
        said = text(converse(agent, segments(call, 5120)))
        expected = text(converse(make_agent(checkpoint), segments(mono, 5120)))
        assert said == expected != ""


def test_a_refused_recording_is_named_by_its_number(checkpoint: Path) -> None:
    agent = make_agent(checkpoint)
    converse(agent, segments(audio(0.5), 5120))
    agent.reset()
    with pytest.raises(AudioFormatError, match="recording 2 of this run: .*[(]400, 6[)]"):
        agent.pushpop(segments(np.zeros((400, 6)), 400)[0])
