"""What the machine can do, and what a chunk asks of it."""

import math
from pathlib import Path

import pytest
from torch import nn

from echostream.config import EncoderConfig
from echostream.constants import DOWNSAMPLING
from echostream.encoder import ZipformerEncoder
from eval.bench import limits
from eval.bench.limits import (
    Demand,
    Limits,
    LimitSettings,
    bound_of,
    chunk_multiply_adds,
    last_cache_bytes,
    weight_bytes,
)
from eval.bench.rounds import Turn
from tests.encoder.small_encoder import small_config


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


def by_hand(config: EncoderConfig, chunk: int, future: int | None) -> int:
    """One chunk of one stream: every product and convolution of the encoder's description."""
    total = stem(config, chunk)
    for index, rate in enumerate(DOWNSAMPLING):
        frames, left = chunk // rate, config.left_context // rate
        total += config.layers[index] * layer(config, index, frames, left, future)
    return total + memory(config, chunk)


def stem(config: EncoderConfig, chunk: int) -> int:
    first, second, third = config.stem_channels
    half = -(-config.input_dim // 2)
    quarter = -(-half // 2)
    # Two feature frames for each encoder frame, and seven of the past; each convolution takes two.
    return (
        (2 * chunk + 5) * config.input_dim * 9 * first
        + (chunk + 2) * half * 9 * first * second
        + chunk * quarter * 9 * second * third
        + chunk * quarter * third * config.widths[0]
    )


def layer(config: EncoderConfig, index: int, frames: int, left: int, future: int | None) -> int:
    channels, heads = config.widths[index], config.heads[index]
    history = config.conv_kernels[index] // 2
    ahead = min(history, frames - 1 if future is None else min(future, frames - 1))
    window, relative = left + frames, left + 2 * frames - 1
    query, value, position = config.query_head_dim, config.value_head_dim, config.pos_head_dim
    gated = 3 * channels // 4
    hidden = sum(max(1, round(config.ffn_dims[index] * part / 5 / 16)) * 16 for part in (3, 4, 5))
    per_frame = (
        channels * heads * (2 * query + position)  # queries, keys, position queries
        + heads * (query * window + position * relative)  # scores
        + 2 * channels * hidden  # in and out of three feed-forward modules
        + channels * 3 * gated + window * gated + gated * channels  # non-linear attention
        + 2 * heads * value * (channels + window + channels)  # self-attention, twice
        + 2 * channels * (2 * channels + history + 1 + ahead + channels)  # convolution, twice
    )  # fmt: skip
    return frames * per_frame


def memory(config: EncoderConfig, chunk: int) -> int:
    if config.memory_size == 0:
        return 0
    channels, size = config.output_dim, config.memory_size
    heads = max(config.heads)
    attention = config.memory_dim // heads * heads
    pieces = chunk // math.gcd(chunk, config.memory_segment)
    return (
        pieces * size * channels * channels  # summaries
        + pieces * (size + 1) * channels * 2 * attention  # keys and values
        + chunk * attention * (channels + 2 * (size + 1) + channels)  # queries, mixing, output
    )


@pytest.mark.parametrize("chunk", [8, 16, 64])
@pytest.mark.parametrize(
    ("future", "changes"),
    [(None, {}), (0, {}), (1, {}), (None, {"memory_size": 0})],
)
def test_the_count_is_the_one_by_hand(
    chunk: int, future: int | None, changes: dict[str, int]
) -> None:
    config = small_config(left_context=32, **changes)
    encoder = ZipformerEncoder.from_config(config).eval()
    for _ in range(2):  # What is prepared once is not counted.
        assert chunk_multiply_adds(encoder, chunk, future) == by_hand(config, chunk, future)


def test_weights_are_counted_once() -> None:
    layer = nn.Linear(3, 4)
    assert weight_bytes(nn.Sequential(layer, layer)) == 4 * (12 + 4)
