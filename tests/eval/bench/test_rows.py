"""What is timed and when, on clocks that only the settings move; figures from planted times."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import pytest

from eval.bench.cases import Case, Plan, baseline_cases
from eval.bench.limits import Demand, Limits
from eval.bench.rounds import Clocks, Setting, Turn, measure, ratio_within_rounds
from eval.bench.rows import Results, Row
from eval.bench.streams import Measured
from eval.bench.tables import limits_lines, tables

PLAN = Plan(
    chunk_ms=320,
    max_future_frames=None,
    backends=(("openvino", "float32"), ("openvino", "int8"), ("torch", "float32")),
    chunks=(160, 320),
    positions=(10, 1800),
    threads=(1,),
    streams=(1, 16),
    futures=(None, 0),
)
# The bound of one chunk at full speed: 10 ms for the weights, 4 ms for the arithmetic.
DEMAND = Demand(multiply_adds=200_000_000, weight_bytes=100_000_000)
FULL = Limits(100e9, 10e9, 5e9)
DRIFT = {0: 1.0, 1: 1.0, 2: 4.0}
"""How much slower the machine is in each round."""


def call_ms(case: Case) -> float:
    """Of a call at full speed."""
    if case.is_offline:
        return {320: 250.0, 160: 300.0}[case.chunk_ms]  # 25 ms for a second, and 30
    if case.backend == "torch":
        return 40.0 * case.streams
    if case.precision == "int8":
        return {1: 15.0, 16: 150.0}[case.streams]
    return {1: 20.0, 16: 120.0}[case.streams] * (1.05 if case.position_s == 1800 else 1.0)


def measured(case: Case, rounds: tuple[int, ...] = (0, 1, 2)) -> Measured:
    turns = {n: Turn((call_ms(case) * DRIFT[n],), (call_ms(case),)) for n in rounds}
    setting = Setting(case.name, lambda: None, case.threads, turns)
    size = None if case.is_offline else 1000
    return Measured(case, setting, DEMAND.times(case.streams), size)


def results(plan: Plan = PLAN, slow: Case | None = None) -> Results:
    """``slow`` had turns in the last round only."""
    limits = {
        n: Limits(*(value / drift for value in dataclasses.astuple(FULL)))
        for n, drift in DRIFT.items()
    }
    found = [measured(c, (2,) if c == slow else (0, 1, 2)) for c in plan.cases()]
    return Results(found, {1: limits}, plan)


def row_of(found: Results, backend: str = "torch", **changes: int) -> Row:
    row = found.get(dataclasses.replace(PLAN.reference(backend), **changes))
    assert row is not None
    return row


def test_the_summary_holds_what_the_aims_are_stated_in() -> None:
    summary = results().summary()
    assert summary["best_float32"] == "openvino"
    assert summary["best_float32_over_bound"] == pytest.approx(2.0)
    assert summary["torch_over_bound"] == pytest.approx(4.0)
    assert summary["int8_over_best_float32"] == pytest.approx(0.75)
    assert summary["best"] == "openvino int8"
    assert summary["streaming_over_offline"] == pytest.approx((15 / 0.32) / (250 / 10), rel=1e-3)
    assert summary["float32_streaming_over_offline"] == pytest.approx((20 / 0.32) / 25, rel=1e-3)
    assert summary["longest_position_over_shortest"] == pytest.approx(1.05)
    # 16 streams in 120 ms against one in 20, and in 150 ms against one in 15.
    name = "most_streams_per_core_over_best_solo"
    assert summary[f"float32_{name}"] == pytest.approx(16 / 6, rel=1e-3)
    assert summary[name] == pytest.approx(16 / 10, rel=1e-3)


def test_a_setting_measured_while_the_machine_was_slow_is_not_wronged() -> None:
    row = row_of(results(slow=PLAN.reference("openvino")), "openvino")
    assert row.wall_ms_p50 == 80.0  # as measured
    assert row.over_bound == pytest.approx(2.0)
    assert row.over_offline == pytest.approx(2.5)


def test_a_row_has_its_figures() -> None:
    found = results()
    row = row_of(found, "openvino", streams=16)
    assert row.multiply_adds == 16 * 200_000_000
    assert row.bound_ms == pytest.approx(64.0)  # the arithmetic, now the larger
    assert row.over_bound == pytest.approx(120 / 64)
    assert row.streams_per_core == pytest.approx(16 * 320 / 120)
    assert row.over_offline == pytest.approx(120 / 16 / 0.32 / 25)
    assert row.mapping()["streams"] == 16
    assert row_of(found).compute_rtf == pytest.approx(40 / 320)
    # by `forward` with its own chunk
    assert row_of(found, chunk_ms=160).over_offline == pytest.approx(40 / 0.16 / 30)


def test_what_was_not_measured_is_none() -> None:
    plan = dataclasses.replace(PLAN, backends=(("torch", "float32"),), positions=(10,))
    summary = results(plan).summary()
    assert summary["best_int8"] is summary["longest_position_over_shortest"] is None
    assert summary["best_float32"] == "torch"


def test_each_case_is_in_the_plan_once_and_differs_in_one_thing() -> None:
    cases = PLAN.cases()
    assert len(set(cases)) == len(cases)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        if case.is_offline:
            continue
        reference = dataclasses.asdict(PLAN.reference(case.backend, case.precision))
        changed = [k for k, v in dataclasses.asdict(case).items() if v != reference[k]]
        assert len(changed) <= 1, case.name
    # Look-ahead needs graphs of its own: torch and the fastest only.
    assert {case.runner for case in cases if case.max_future_frames == 0} == {"torch", "openvino"}


def test_only_torch_varies_torch_alone() -> None:
    plan = dataclasses.replace(PLAN, only_torch=True)
    compiled = [case for case in plan.cases() if case.backend != "torch"]
    assert compiled == [plan.reference("openvino"), plan.reference("openvino", "int8")]


def test_the_baseline_is_measured_in_both_modes() -> None:
    cases = baseline_cases(PLAN, (640,), (10, 60))
    assert len({case.name for case in cases}) == len(cases)
    assert {(case.mode, case.chunk_ms, case.position_s) for case in cases} == {
        *((mode, 320, at) for mode in ("cached", "recompute") for at in (10, 60)),
        *((mode, 640, 10) for mode in ("cached", "recompute")),
        ("offline", 320, 10),
    }


def test_tables_show_what_varies_and_the_bound() -> None:
    text = "\n\n".join(tables(results()))
    titles = [block.splitlines()[0].split("  ")[0] for block in text.split("\n\n")]
    assert [title.split(":")[0] for title in titles] == [
        "Backends",
        "Streaming against offline",
        "Latency by chunk",
        "CT-mask",
        "Position in the stream",
        "Streams in one batch",
        "Memory",
    ]
    line = next(line for line in text.splitlines() if line.startswith("16, openvino  "))
    # p50, p95, CPU, no first call, RTF, /offline, /bound, latency, state, streams per core
    assert line.split()[2:] == (
        ["120.00", "444.00", "120.00", "-", "0.3750", "0.94", "1.88", "440", "1", "42.7"]
    )
    assert "bound 10.00 ms a chunk (weights 10.00, arithmetic 4.00)" in limits_lines(results())[0]


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


def test_a_ratio_within_rounds_is_right_while_the_machine_drifts() -> None:
    speed = [1.0, 1.0, 5.0, 5.0, 20.0]
    fast = {number: 10.0 * slow for number, slow in enumerate(speed)}
    # The slow one has no turns in the last rounds, so plain medians would compare 20 with 50.
    slow = {number: 20.0 * speed[number] for number in (0, 1)}
    assert ratio_within_rounds(slow, fast) == 2.0
    assert ratio_within_rounds(fast, slow) == 0.5
    assert ratio_within_rounds({0: 1.0}, {1: 1.0}) is None
