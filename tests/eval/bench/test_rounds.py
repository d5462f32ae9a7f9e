"""What is timed, when, and with which clock: on clocks that only the settings move."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from eval.bench.rounds import Clocks, Setting, Turn, measure, ratio_within_rounds


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


def test_each_setting_has_a_turn_in_each_round_its_own_times_and_its_threads() -> None:
    machine = Machine()
    a, b = machine.setting("a", 10.0), machine.setting("b", 20.0, cpu=0.5, threads=2)
    machine.measure([a, b], 3)
    assert sorted(a.turns) == sorted(b.turns) == [0, 1, 2]
    assert a.wall_ms == pytest.approx([10.0] * 12)
    assert b.wall_ms == pytest.approx([20.0] * 12)
    assert b.cpu_ms == pytest.approx([10.0] * 12)
    # Twice at the start, then in each round one untimed and four timed calls.
    assert Counter(machine.calls) == {"a": 2 + 3 * 5, "b": 2 + 3 * 5}


def test_what_a_call_pays_for_the_settings_before_it_is_kept_apart() -> None:
    machine = Machine()
    a = machine.setting("a", 10.0, cold_ms=30.0)
    machine.measure([a, machine.setting("b", 10.0)], 4)
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


@pytest.mark.parametrize(
    ("call_ms", "timed", "untimed", "turns"),
    [(0.0, 4, 1, 17), (5.0, 4, 1, 17), (90.0, 2, 1, 17), (150.0, 1, 0, 17), (6000.0, 1, 0, 3)],
)
def test_long_calls_are_made_less_often(
    call_ms: float, timed: int, untimed: int, turns: int
) -> None:
    machine = Machine()
    setting = machine.setting("a", call_ms)
    machine.measure([setting], 17)
    assert len(setting.turns) == turns
    first = setting.turns[0]
    assert (len(first.wall_ms), first.untimed_ms is not None) == (timed, bool(untimed))


def test_a_hitch_before_the_rounds_does_not_make_a_setting_slow() -> None:
    machine = Machine()
    taken = iter([0.1, 9.0])

    def run() -> None:
        machine.wall += next(taken, 0.1)

    setting = Setting("a", run)
    machine.measure([setting], 3)
    assert setting.wall_ms == pytest.approx([100.0] * 6)


def test_medians_leave_the_untimed_calls_out() -> None:
    turns = {0: Turn((1.0, 2.0, 9.0), (1.0, 1.0, 1.0), 50.0), 1: Turn((3.0, 4.0), (7.0, 8.0), 70.0)}
    setting = Setting("a", lambda: None, turns=turns)
    assert (setting.wall_ms, setting.cpu_ms) == ([1, 2, 9, 3, 4], [1, 1, 1, 7, 8])
    assert setting.untimed_p50 == 60.0
    assert setting.by_round(max) == {0: 9.0, 1: 4.0}
    assert Setting("b", lambda: None, turns={0: Turn((1.0,), (1.0,))}).untimed_p50 is None


def test_a_ratio_within_rounds_is_right_while_the_machine_drifts() -> None:
    speed = [1.0, 1.0, 5.0, 5.0, 20.0]
    fast = {number: 10.0 * slow for number, slow in enumerate(speed)}
    # The slow one has no turns in the last rounds, so plain medians would compare 20 with 50.
    slow = {number: 20.0 * speed[number] for number in (0, 1)}
    assert ratio_within_rounds(slow, fast) == 2.0
    assert ratio_within_rounds(fast, slow) == 0.5
    assert ratio_within_rounds({0: 1.0}, {1: 1.0}) is None
