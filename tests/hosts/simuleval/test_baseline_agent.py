"""The agent around the baseline's encoder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from echostream.baseline import RecomputingFrontEnd
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError, ConfigError
from echostream.hosts.simuleval.baseline_agent import StreamSpeechBaselineAgent
from echostream.session import SystemOptions, build_translator
from tests.hosts.simuleval.test_agent import converse, segments, text
from tests.small_system import audio, make_baseline


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of an agent with an untrained small baseline that writes a reference."""
    folder = tmp_path_factory.mktemp("baseline")
    (folder / "target").write_text("one two three four five six seven eight\n" * 3)
    return {
        "random_weights": make_baseline(folder),
        "forced_target": str(folder / "target"),
        "policy": "wait-k",
        "policy_options": "k=2",
    }


def make_agent(**options: Any) -> StreamSpeechBaselineAgent:
    return StreamSpeechBaselineAgent(SimpleNamespace(**options))


def test_both_modes_say_the_same(forced: dict[str, str]) -> None:
    sent = segments(audio(2.5), 5120)
    recompute = [a.content for a in converse(make_agent(**forced), sent)]
    cached = [a.content for a in converse(make_agent(**forced, encoder_mode="cached"), sent)]
    assert recompute == cached
    assert any(recompute[:-1]), "something is written before the end"


@pytest.mark.parametrize("mode", ["cached", "recompute"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_encoder_frames_do_not_depend_on_mode_or_cuts(
    forced: dict[str, str], mode: str, rate: int
) -> None:
    weights = forced["random_weights"]
    samples = audio(2.5 * rate / SAMPLE_RATE)

    def frames(mode: str, size: int) -> torch.Tensor:
        listener = build_translator(
            SystemOptions(random_weights=weights, encoder_mode=mode)
        ).listener
        state = listener.init_state()
        result = []
        for start in range(0, len(samples), size):
            end = start + size
            encoded, state = listener.step(
                samples[start:end], rate, state, is_final=end >= len(samples)
            )
            result += [chunk.frames for chunk in encoded.chunks]
        return torch.cat(result)

    whole = frames("cached", len(samples))
    assert len(whole) == 63  # 2.5 s of 40 ms, begun ones counted
    torch.testing.assert_close(frames(mode, 4410), whole, atol=1e-5, rtol=0)


def test_recompute_is_the_published_default(forced: dict[str, str]) -> None:
    listener = make_agent(**forced).translator.listener
    assert isinstance(listener.front_end, RecomputingFrontEnd)
    assert listener.init_state().encoder.mode == "recompute"  # type: ignore[union-attr]


def test_recomputing_front_end_hears_every_kind_of_audio(forced: dict[str, str]) -> None:
    front_end = make_agent(**forced).translator.listener.front_end
    for pieces in (
        [np.zeros((800, 2), np.float32)] * 3,
        [[0.1] * 700, [0.2] * 900],
        [[], [0.1] * 700, []],
    ):
        state = front_end.init_state()
        heard = 0
        for piece in pieces:
            features, state = front_end.step(piece, SAMPLE_RATE, state)
            heard += len(features)
        assert heard == sum(map(len, pieces)) // 160
    good = front_end.step([0.1] * 700, SAMPLE_RATE, front_end.init_state())[1]
    with pytest.raises(AudioFormatError):
        front_end.step([float("nan")], SAMPLE_RATE, good)
    assert len(front_end.step([0.1] * 900, SAMPLE_RATE, good)[0]) == 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "no default checkpoint"),
        ({"chunk_ms": 360}, "multiple of 80"),
        ({"left_context_ms": 320}, "ChunkConformerEncoder, which has no such choice"),
        ({"max_future_frames": "1"}, "ChunkConformerEncoder, which has no such choice"),
        ({"encoder_mode": "cache"}, "cached, recompute"),
    ],
)
def test_wrong_options_say_what_to_do(
    forced: dict[str, str], options: dict[str, Any], told: str
) -> None:
    given = {**forced, **options} if options else {}
    with pytest.raises(ConfigError, match=told):
        make_agent(**given)


def test_a_zipformer_is_not_the_baseline(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="encoder is a Zipformer"):
        make_agent(checkpoint=str(checkpoint))


def test_chunk_of_80_ms_is_the_shortest(forced: dict[str, str]) -> None:
    agent = make_agent(**forced, chunk_ms=80)
    assert text(converse(agent, segments(audio(1.0), 1280)))
