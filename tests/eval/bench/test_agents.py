"""Stages and sums of whole agents, on clocks that only the agents move."""

from __future__ import annotations

import numpy as np
import pytest

from echostream.session.costs import Costs
from eval.bench.agents import AgentTimes, Push, run_agents
from eval.bench.rounds import Clocks

HEARD: list[tuple[str, list[float], bool]] = []


def fake_agent(clock: list[float], name: str, slow: float) -> Push:
    """1 ms at the front, 10 for the encoder, 0.5 for each stage after it, 2 for nothing known."""

    def push(segment: list[float], is_last: bool) -> Costs:
        HEARD.append((name, segment, is_last))
        clock[0] += slow * 14.5 / 1000
        half = dict.fromkeys(("heads", "decoder", "policy"), 0.5 * slow)
        return {"front_end": slow, "encoder": 10 * slow, **half}

    return push


def test_every_agent_hears_all_of_it_and_each_is_first_in_turn() -> None:
    HEARD.clear()
    clock = [0.0]
    pushes = {name: fake_agent(clock, name, slow) for name, slow in (("a", 1.0), ("b", 3.0))}
    samples = np.arange(4 * 5120 - 100, dtype=np.float32)
    clocks = Clocks(lambda: clock[0], lambda: clock[0] / 2)
    a, b = run_agents(pushes, samples, 320, clocks=clocks)
    assert "".join(name for name, _, _ in HEARD) == "abbaabba"
    for agent in "ab":
        own = [(segment, is_last) for name, segment, is_last in HEARD if name == agent]
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
