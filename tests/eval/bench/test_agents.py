"""Stages and sums of whole agents, on clocks that only the agents move."""

from __future__ import annotations

import numpy as np
import pytest

from echostream.session.costs import Costs
from eval.bench.agents import AgentTimes, run_agents
from eval.bench.rounds import Clocks


class FakeAgent:
    """1 ms at the front, 10 for the encoder, 0.5 for each stage after it, 2 for nothing known."""

    def __init__(self, clock: list[float], order: list[str], name: str, slow: float) -> None:
        self.clock, self.order, self.name, self.slow = clock, order, name, slow
        self.heard: list[float] = []
        self.ends: list[bool] = []

    def push(self, segment: list[float], is_last: bool) -> Costs:
        self.order.append(self.name)
        self.heard += segment
        self.ends.append(is_last)
        self.clock[0] += self.slow * 14.5 / 1000
        half = 0.5 * self.slow
        return {
            "front_end": self.slow,
            "encoder": 10 * self.slow,
            "heads": half,
            "decoder": half,
            "policy": half,
        }


def test_every_agent_hears_all_of_it_and_each_is_first_in_turn() -> None:
    clock, order = [0.0], list[str]()
    fakes = [FakeAgent(clock, order, name, slow) for name, slow in (("a", 1.0), ("b", 3.0))]
    agents = [AgentTimes(fake.name, fake.push) for fake in fakes]
    samples = np.arange(4 * 5120 - 100, dtype=np.float32)
    run_agents(agents, samples, 320, clocks=Clocks(lambda: clock[0], lambda: clock[0] / 2))
    assert "".join(order) == "abbaabba"
    for fake in fakes:
        assert fake.heard == samples.tolist()
        assert fake.ends == [False, False, False, True]
    a, b = agents
    assert a.stages() == pytest.approx(
        {
            "front_end": 1,
            "encoder": 10,
            "heads": 0.5,
            "decoder": 0.5,
            "policy": 0.5,
            "glue": 2,
        }
    )
    assert a.beside_encoder() == pytest.approx(0.4)
    assert a.heads_over_encoder() == pytest.approx(0.05)
    assert (a.total_wall_s, a.total_cpu_s) == pytest.approx((0.058, 0.029))
    assert b.total_wall_s == pytest.approx(3 * a.total_wall_s)


def test_segments_without_a_chunk_do_not_count_for_the_share() -> None:
    costs = [{"front_end": 1}, {"front_end": 1, "encoder": 10, "heads": 3}]
    agent = AgentTimes("a", lambda *_: costs[0], [1.0, 15.0], [1.0, 15.0], costs)
    assert agent.beside_encoder() == pytest.approx(0.2)
    assert agent.heads_over_encoder() == pytest.approx(0.3)
