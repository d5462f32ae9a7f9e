"""The bound, and the machine's limits from planted times."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.bench import limits
from eval.bench.limits import Demand, Limits, LimitSettings, bound_of, last_cache_bytes
from eval.bench.rounds import Turn


def test_the_bound_is_the_larger_of_reading_and_arithmetic() -> None:
    # The figures: 166 MB at 18 GB/s and 0.49 GFLOP at 93 GFLOP/s.
    machine = Limits(93e9, 18e9, 17e9)
    one = bound_of(Demand(245_000_000, 166_000_000), machine)
    assert one.reading_ms == pytest.approx(9.22, abs=0.01)
    assert one.arithmetic_ms == pytest.approx(5.27, abs=0.01)
    assert one.ms == one.reading_ms
    eight = bound_of(Demand(245_000_000, 166_000_000).times(8), machine)
    assert eight.reading_ms == one.reading_ms
    assert eight.ms == eight.arithmetic_ms == pytest.approx(8 * one.arithmetic_ms)
    # Of two ways to read, the faster.
    assert bound_of(Demand(0, 1_000_000), Limits(1e9, 1e9, 4e9)).ms == pytest.approx(0.25)


def test_limits_are_what_the_machine_did_at_its_best_in_each_round() -> None:
    settings = LimitSettings(4096 * 10, threads=1, cache_bytes=4096 * 20)
    assert (settings.weights_read, settings.memory_read) == (40_960, 163_840)
    by_name = {setting.name: setting for setting in settings.settings}
    for setting in by_name.values():
        setting.turns[0] = Turn((10.0, 8.0), (0.0, 0.0))
    by_name["multiply 1024 threads 1"].turns[0] = Turn((3.0, 1.0), (0.0, 0.0))
    by_name["read 40960 by norm threads 1"].turns[0] = Turn((4.0,), (0.0,))
    by_name["read 163840 by dot threads 1"].turns[1] = Turn((4.0,), (0.0,))
    found = settings.by_round()
    assert list(found) == [0]
    assert found[0].operations_per_s == pytest.approx(2 * 2048**3 / 8e-3)
    assert found[0].weights_bytes_per_s == pytest.approx(40_960 / 4e-3)
    assert found[0].memory_bytes_per_s == pytest.approx(163_840 / 8e-3)


def test_every_way_to_read_reads_all_of_it() -> None:
    settings = LimitSettings(1_000_000, threads=1, cache_bytes=1)
    assert settings.weights_read == settings.memory_read >= 1_000_000
    assert settings.weights_read < 1_010_000
    count = settings.weights_read / 4
    # All numbers are 0.5: their squares, products and sums tell how many were read.
    told = [(count * 0.25) ** 2, count * 0.25, count / 1024 * 256.0**2]
    reading = [setting for setting in settings.settings if setting.name.startswith("read")]
    found = [float(setting.run().double().square().sum()) for setting in reading]  # type: ignore[attr-defined]
    assert found == pytest.approx(told, rel=1e-4)


def test_the_last_cache_is_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_CACHES", tmp_path)
    assert last_cache_bytes() == 64 * 2**20
    for index, size in enumerate(("48K\n", "2M\n", "512K\n", "odd\n")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size)
    assert last_cache_bytes() == 2 * 2**20
