"""What is timed, when, and with which clock: on clocks that only the settings move."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from eval.bench.rounds import Clocks, Setting, measure, pace_of


@dataclass
class Machine:
    """Clocks that stand still but for what the settings take."""

    wall: float = 0.0
    cpu: float = 0.0
    calls: list[str] = field(default_factory=list)
    last: str = ""
    threads: list[int] = field(default_factory=list)

    def setting(
        self, name: str, warm_ms: float, *, cold_ms: float = 0.0, cpu: float = 1.0, threads: int = 1
    ) -> Setting:
        def run() -> None:
            assert self.threads[-1] == threads
            taken = warm_ms if self.last == name else max(cold_ms, warm_ms)
            self.last = name
            self.calls.append(name)
            self.wall += taken / 1000
            self.cpu += cpu * taken / 1000

        return Setting(name, run, threads)

    def measure(self, settings: list[Setting], rounds: int) -> None:
        clocks = Clocks(lambda: self.wall, lambda: self.cpu)
        measure(settings, rounds, clocks=clocks, set_threads=self.threads.append)


def test_each_setting_has_a_turn_in_each_round_and_its_own_times() -> None:
    machine = Machine()
    settings = [machine.setting("a", 10.0), machine.setting("b", 20.0, cpu=0.5)]
    machine.measure(settings, 3)
    a, b = (setting.times for setting in settings)
    assert sorted(a.turns) == sorted(b.turns) == [0, 1, 2]
    assert a.wall_ms == pytest.approx([10.0] * 12)
    assert b.wall_ms == pytest.approx([20.0] * 12)
    assert b.cpu_ms == pytest.approx([10.0] * 12)
    # Twice at the start, then in each round one untimed and four timed calls.
    assert Counter(machine.calls) == {"a": 2 + 3 * 5, "b": 2 + 3 * 5}


def test_what_a_call_pays_for_the_settings_before_it_is_kept_apart() -> None:
    machine = Machine()
    settings = [machine.setting("a", 10.0, cold_ms=30.0), machine.setting("b", 10.0)]
    machine.measure(settings, 4)
    a = settings[0].times
    assert a.wall_ms == pytest.approx([10.0] * 16)
    assert a.untimed_p50 == pytest.approx(30.0)


def test_the_order_changes_from_round_to_round() -> None:
    machine = Machine()
    names = "abcdef"
    machine.measure([machine.setting(name, 150.0) for name in names], 12)
    turns = machine.calls[2 * len(names) :]
    rounds = ["".join(turns[k : k + len(names)]) for k in range(0, len(turns), len(names))]
    assert all(sorted(order) == list(names) for order in rounds)
    assert len(set(rounds)) > 6


def test_threads_are_set_before_each_turn() -> None:
    machine = Machine()
    machine.measure([machine.setting("a", 10.0), machine.setting("b", 10.0, threads=2)], 3)
    assert set(machine.threads) == {1, 2}


@pytest.mark.parametrize(
    ("call_ms", "timed", "untimed", "every"),
    [(0.0, 4, 1, 1), (5.0, 4, 1, 1), (90.0, 2, 1, 1), (150.0, 1, 0, 1), (6000.0, 1, 0, 8)],
)
def test_long_calls_are_made_less_often(
    call_ms: float, timed: int, untimed: int, every: int
) -> None:
    pace = pace_of(call_ms)
    assert (pace.timed, pace.untimed, pace.every) == (timed, untimed, every)


def test_a_very_slow_setting_has_turns_in_some_rounds() -> None:
    machine = Machine()
    slow, fast = machine.setting("slow", 6000.0), machine.setting("fast", 1.0)
    machine.measure([slow, fast], 17)
    assert sorted(slow.times.turns) == [0, 8, 16]
    assert len(fast.times.turns) == 17


def test_a_hitch_before_the_rounds_does_not_make_a_setting_slow() -> None:
    machine = Machine()
    taken = iter([0.1, 9.0])

    def run() -> None:
        machine.wall += next(taken, 0.1)

    setting = Setting("a", run)
    machine.measure([setting], 3)
    assert setting.times.wall_ms == pytest.approx([100.0] * 6)


def test_settings_that_cannot_be_told_apart_are_refused() -> None:
    machine = Machine()
    with pytest.raises(ValueError, match=r"same name: \['a'\]"):
        machine.measure([machine.setting("a", 1.0), machine.setting("a", 2.0)], 1)
    with pytest.raises(ValueError, match="0 rounds"):
        machine.measure([machine.setting("a", 1.0)], 0)
