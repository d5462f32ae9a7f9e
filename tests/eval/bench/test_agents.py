"""Whole agents, and long streams, on clocks that only they move."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch

from echostream.session.costs import Costs
from eval.bench.agents import AgentTimes, run_agents
from eval.bench.memory import long_stream
from eval.bench.rounds import Clocks
from tests.encoder.small_encoder import small_encoder


def test_every_agent_hears_all_of_it_and_each_is_first_in_turn() -> None:
    heard: list[tuple[str, list[float], bool]] = []
    clock = [0.0]

    def push(name: str, slow: float, segment: list[float], is_last: bool) -> Costs:
        """1 ms at the front, 10 for the encoder, 0.5 for each stage after, 2 for nothing known."""
        heard.append((name, segment, is_last))
        clock[0] += slow * 14.5 / 1000
        half = dict.fromkeys(("heads", "decoder", "policy"), 0.5 * slow)
        return {"front_end": slow, "encoder": 10 * slow, **half}

    pushes = {name: partial(push, name, slow) for name, slow in (("a", 1.0), ("b", 3.0))}
    samples = np.arange(4 * 5120 - 100, dtype=np.float32)
    clocks = Clocks(lambda: clock[0], lambda: clock[0] / 2)
    a, b = run_agents(pushes, samples, 320, clocks=clocks)
    assert "".join(name for name, _, _ in heard) == "abbaabba"
    for agent in "ab":
        own = [(segment, is_last) for name, segment, is_last in heard if name == agent]
        assert sum((segment for segment, _ in own), []) == samples.tolist()
        assert [is_last for _, is_last in own] == [False, False, False, True]
    halves = {"heads": 0.5, "decoder": 0.5, "policy": 0.5}
    assert a.stages() == pytest.approx({"front_end": 1, "encoder": 10, **halves, "glue": 2})
    assert a.beside_encoder() == pytest.approx(0.4)
    assert a.heads_over_encoder() == pytest.approx(0.05)
    assert (sum(a.wall_ms), sum(a.cpu_ms)) == pytest.approx((58, 29))
    assert sum(b.wall_ms) == pytest.approx(3 * 58)


def test_segments_without_a_chunk_do_not_count_for_the_share() -> None:
    costs: list[Costs] = [{"front_end": 1}, {"front_end": 1, "encoder": 10, "heads": 3}]
    agent = AgentTimes("a", [1.0, 15.0], [1.0, 15.0], costs)
    assert agent.beside_encoder() == pytest.approx(0.2)
    assert agent.heads_over_encoder() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("held", "growth"),
    [
        # The first tenth of 20 windows is warm-up.
        ([0, 50, *[100] * 18], 0),
        ([*[100] * 10, 103, *[101] * 9], 3),
        ([100 - k for k in range(20)], 0),
    ],
)
def test_a_stream_is_stepped_through_and_looked_at(held: list[int], growth: int) -> None:
    encoder = small_encoder(dtype=torch.float32)
    state = encoder.init_state(1, chunk_size=8)
    ticks, memory = itertools.count(0.0, 0.002), iter(held)
    # A sixtieth of it is less than a chunk of 160 ms, so each window is one.
    found = long_stream(
        encoder, state, 3.1, resident=lambda: next(memory), clock=lambda: next(ticks)
    )
    assert found.audio_s == pytest.approx(3.2)
    assert found.growth_bytes == growth
    assert found.state_bytes == (state.nbytes,)
    assert found.chunk_ms == pytest.approx((2.0, 2.0))
