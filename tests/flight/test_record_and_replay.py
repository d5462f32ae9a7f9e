"""The flight recorder: a record tells what happened, a replay where it would not again."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from simuleval.data.segments import EmptySegment, SpeechSegment

from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, DataError
from echostream.flight.record import read_record
from tests.flight.conftest import lines, make_agent, replay, send
from tests.small_system import audio


@pytest.fixture(scope="module")
def flight(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("flight")
    agent = make_agent(checkpoint, record=str(folder / "new" / "record.jsonl"))
    said = []
    stereo = np.stack((audio(4.0, seed=1), audio(4.0, seed=2)), axis=1)
    for name, samples, rate in (("a b.wav", audio(2.0), 16_000), ("stereo.wav", stereo, 44_100)):
        soundfile.write(folder / name, samples, rate, subtype="FLOAT")
        agent.reset()
        said.append(send(agent, samples, rate * 320 // 1000, rate))
    return folder, said


@pytest.fixture
def flown(flight: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, list[Path], list[str]]:
    """A record of two recordings, one of them stereo at 44.1 kHz; the recordings; what was said."""
    copied = Path(shutil.copytree(flight[0], tmp_path / "flight"))
    return copied / "new/record.jsonl", [copied / "a b.wav", copied / "stereo.wav"], flight[1]


def rewritten(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    values = copy.deepcopy(lines(path))
    change(values)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_the_record_tells_what_was_said_and_why(flown: Any) -> None:
    record, _, said = flown
    header, *events = lines(record)
    assert header["options"]["policy"] is None and "record" not in header["options"]
    assert header["versions"]["echostream"]
    for stream, text in enumerate(said):
        mine = [e for e in events if e["stream"] == stream and e["event"] == "segment"]
        assert [e["segment"] for e in mine] == list(range(len(mine)))
        assert [e["final"] for e in mine] == [False] * (len(mine) - 1) + [True]
        turns = [turn for e in mine for turn in e["turns"]]
        assert " ".join(w for turn in turns for w in turn["words"]) == text != ""
        assert all(turn["reason"] for turn in turns)
        assert turns[-1]["reason"] == "source finished"
        counted = mine[-1]["counters"]
        assert counted["samples_heard"] == (32_000, 64_000)[stream]
        assert counted["words_written"] == len(text.split())
    assert events[0]["event"] == "stream" and events[1]["audio"]["shape"] == [5120]
    assert [e["audio"]["shape"] for e in events[-5:-3]] == [[14112, 2], [14112, 2]]


def test_replay_of_the_recordings_is_equal(flown: Any, capsys: Any) -> None:
    record, files, _ = flown
    assert replay(record, "--audio", *reversed(files)) == 0
    out = capsys.readouterr().out
    assert "2 streams, 12 segments" in out
    assert "all 12 segments are as recorded" in out
    assert "note" not in out


@pytest.mark.parametrize("kind", ["float32", "int16", "int32", "float64", "stereo"])
def test_with_the_audio_in_it_a_record_needs_nothing_else(
    checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    samples: Any = audio(1.0)
    if kind == "stereo":
        samples = np.stack((samples, samples / 2), axis=1)
    elif kind.startswith("int"):
        samples = (samples * np.iinfo(kind).max * 0.9).astype(kind)
    else:
        samples = samples.astype(kind)
    record = tmp_path / "record"
    agent = make_agent(checkpoint, record=str(record), record_audio=True)
    for start in range(0, len(samples), 3000):  # arrays, as hosts other than SimulEval push them
        agent.push(SpeechSegment(content=samples[start : start + 3000], sample_rate=16_000))
        agent.pop()
    agent.pushpop(EmptySegment(finished=True))
    assert read_record(record).segments[0].audio["dtype"] == kind.replace("stereo", "float32")
    assert replay(record) == 0


def test_integers_are_found_again_in_a_recording(checkpoint: Path, tmp_path: Path) -> None:
    whole = (audio(1.0) * 30_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", whole, SAMPLE_RATE, subtype="PCM_16")
    agent = make_agent(checkpoint, record=str(tmp_path / "record"))
    agent.pushpop(SpeechSegment(content=whole, sample_rate=SAMPLE_RATE, finished=True))
    assert replay(tmp_path / "record", "--audio", tmp_path / "a.wav") == 0


def test_interleaved_streams_and_resets_are_told_apart(checkpoint: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    agent = make_agent(checkpoint, record=str(record), record_audio=True, policy="stub")
    states = [agent.build_states() for _ in range(3)]
    parts = [audio(1.0, seed=n) for n in range(3)]
    for start in range(0, 16_000, 4000):
        for state, samples in zip(states, parts, strict=True):
            agent.pushpop(
                SpeechSegment(
                    content=samples[start : start + 4000].tolist(), sample_rate=SAMPLE_RATE
                ),
                state,
            )
    states[1].reset()  # in mid-stream; the next one is another stream
    send(agent, audio(0.5), 4000, states=states[1])
    assert len(read_record(record).streams) == 4
    assert replay(record) == 0


def test_forced_writers_need_no_file_of_references(checkpoint: Path, tmp_path: Path) -> None:
    forced = tmp_path / "forced"
    forced.write_text("one two three\nfour\n")
    record = tmp_path / "record"
    agent = make_agent(
        checkpoint,
        record=str(record),
        record_audio=True,
        forced_target=str(forced),
        policy="wait-k",
    )
    for _ in range(2):
        send(agent, audio(2.0), 5120)
        agent.reset()
    forced.unlink()
    assert [stream.reference for stream in read_record(record).streams] == ["one two three", "four"]
    assert replay(record) == 0


def test_refused_segments_are_recorded_and_refused_again(checkpoint: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    agent = make_agent(checkpoint, record=str(record), record_audio=True)
    bad = audio(0.5)
    bad[77] = np.nan
    agent.pushpop(SpeechSegment(content=audio(0.5), sample_rate=16_000))
    for content, rate in ((bad, 16_000), (audio(0.2), 8000), ("text", 16_000)):
        with pytest.raises(AudioFormatError):
            agent.push(SpeechSegment(content=content, sample_rate=rate))
        assert len(read_record(record).segments) > 1, "at once"
    # Two that were refused behind audio that waits to be heard come after it.
    agent.push(SpeechSegment(content=audio(0.3, seed=1), sample_rate=16_000))
    for content, rate in ((bad, 16_000), (audio(0.2), 8000)):
        with pytest.raises(AudioFormatError):
            agent.push(SpeechSegment(content=content, sample_rate=rate))
    agent.pop()
    agent.pushpop(EmptySegment(finished=True))
    outcomes = [
        segment.outcome.get("error", {}).get("kind") for segment in read_record(record).segments
    ]
    refused = "AudioFormatError"
    assert outcomes == [None, refused, refused, refused, None, refused, refused, None]
    assert "sample 12877 is nan" in read_record(record).segments[5].outcome["error"]["message"]
    assert replay(record) == 0
    # The error is compared like anything else.
    rewritten(record, lambda v: v[3]["error"].update(kind="ValueError"))
    assert replay(record) == 1


def refuse(segment: dict[str, Any]) -> None:
    segment["error"] = {"kind": "AudioFormatError", "message": "no"}
    del segment["turns"], segment["counters"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s["turns"][0].update(words=["nobody", "said"]), "turns[0].words"),
        (lambda s: s["turns"][0].update(reason="because"), "turns[0].reason"),
        (lambda s: s["turns"].append(s["turns"][0]), "number of turns"),
        (lambda s: s["counters"].update(target_tokens=-1), "counters.target_tokens"),
        (lambda s: s["audio"].update(sha256="0" * 64), "audio.sha256"),
        (refuse, "error"),
    ],
)
def test_the_first_difference_is_named(flown: Any, capsys: Any, change: Any, named: str) -> None:
    record, files, _ = flown

    def plant(values: list[dict[str, Any]]) -> None:
        change(next(v for v in values if v.get("stream") == 1 and v.get("segment") == 3))

    rewritten(record, plant)
    assert replay(record, "--audio", *files) == 1
    out = capsys.readouterr().out
    assert f"first difference: stream 1, segment 3: {named}\n" in out
    assert "10 segments are as recorded" in out  # 7 of stream 0 and 3 of stream 1
    assert "recorded  " in out and "now       " in out


def test_a_changed_system_is_noted_and_its_first_difference_found(
    flown: Any, checkpoint: Path, tmp_path: Path, capsys: Any
) -> None:
    """Other weights: the ASR head's blank becomes likelier."""
    import safetensors.torch

    other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
    tensors = safetensors.torch.load_file(other / "model.safetensors")
    tensors["st_head.projection.bias"][-1] += 5.0
    safetensors.torch.save_file(tensors, other / "model.safetensors", {"format": "pt"})
    record, files, _ = flown
    assert replay(record, "--audio", *files, "--checkpoint", other) == 1
    out = capsys.readouterr().out
    assert "note: model: recorded" in out
    assert "first difference: stream 0, segment" in out


def test_a_record_is_good_up_to_where_it_was_cut(flown: Any, capsys: Any) -> None:
    record, files, _ = flown
    whole = record.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in (ends[2] + 1, ends[5], ends[9] - 1, ends[9] + 40, len(whole) - 1):
        record.write_bytes(whole[:cut])
        read = read_record(record)
        complete = sum(end <= cut for end in ends)
        assert 1 + len(read.events) == complete
        assert read.is_cut == (cut not in ends)
    record.write_bytes(whole[: ends[5] + 10])
    assert replay(record, "--audio", *files) == 0
    assert "ends in mid-line after stream 0, segment 3; read up to there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: values.pop(3), "missing or there twice"),
        (lambda values: values.insert(3, values[3]), "missing or there twice"),
        (lambda values: values[0].update(format="echostream-flight-99"), "flight-99"),
        (lambda values: values[3]["audio"].update(dtype="object"), "dtype 'object'"),
        (lambda values: values[0]["options"].update(warp=9), "warp"),
    ],
)
def test_what_cannot_be_replayed_is_said(flown: Any, capsys: Any, change: Any, told: str) -> None:
    record, files, _ = flown
    rewritten(record, change)
    assert replay(record, "--audio", *files) == 2
    assert told in capsys.readouterr().err


def test_any_changed_byte_is_a_difference_an_error_or_no_matter(flown: Any) -> None:
    """Never a traceback, whatever the file holds."""
    record, _, _ = flown
    whole = record.read_bytes()
    chance = np.random.default_rng(2)
    for position in chance.integers(0, len(whole), 300).tolist():
        altered = bytearray(whole)
        altered[position] ^= 1 << int(chance.integers(8))
        record.write_bytes(bytes(altered))
        try:
            read_record(record)
        except DataError:
            continue


def test_missing_audio_is_said(flown: Any, tmp_path: Path, capsys: Any) -> None:
    record, files, _ = flown
    assert replay(record) == 2
    assert "--record-audio" in capsys.readouterr().err
    assert replay(record, "--audio", files[0]) == 2
    assert "none of the 1 recordings" in capsys.readouterr().err
    assert replay(record, "--audio", tmp_path / "no.wav") == 2
    assert "no.wav" in capsys.readouterr().err
    assert replay(tmp_path / "none") == 2


def test_a_changed_recording_is_a_difference_where_it_changed(flown: Any, capsys: Any) -> None:
    record, files, _ = flown
    samples, rate = soundfile.read(files[0], dtype="float32")
    samples[5120 * 4 + 7] += 0.01
    soundfile.write(files[0], samples, rate, subtype="FLOAT")
    assert replay(record, "--audio", *files) == 1
    assert "stream 0, segment 4: audio.sha256" in capsys.readouterr().out


def test_audio_in_the_record_is_checked(checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    record = tmp_path / "record"
    send(make_agent(checkpoint, record=str(record), record_audio=True), audio(0.5), 4000)

    def damage(values: list[dict[str, Any]]) -> None:
        values[2]["audio"]["base64"] = values[3]["audio"]["base64"]

    rewritten(record, damage)
    assert replay(record) == 2
    assert "hash does not match" in capsys.readouterr().err
