"""``forward`` against the dense oracle, which shares no code with it."""

from __future__ import annotations

import math

import pytest
import torch

from echostream.encoder import attention
from echostream.encoder.zipformer import WHOLE_RECORDING, ZipformerEncoder

from .dense_zipformer import DenseZipformer, position_code
from .small_encoder import (
    CHUNK_SIZES,
    FUTURES,
    INPUT_DIM,
    keep_nothing_prepared,
    largest_difference,
    noise,
    small_encoder,
)

FLOAT64 = 1e-11
FLOAT32 = 1e-5


@pytest.fixture
def exact_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder makes its position encoding in float32 at any dtype (off by 1e-7); with the
    oracle's in float64, the rest can be compared to rounding."""

    def rows(left: int, chunk: int, dim: int, device: torch.device) -> torch.Tensor:
        return torch.stack(
            [position_code(row - (left + chunk - 1), dim) for row in range(left + 2 * chunk - 1)]
        )

    keep_nothing_prepared(monkeypatch)
    monkeypatch.setattr(attention, "relative_positions", rows)


def dense(encoder: ZipformerEncoder, features: torch.Tensor, **options: int | None) -> torch.Tensor:
    """Options as for ``forward``."""
    chunk, left = options["chunk_size"], options["left_context"]
    if chunk == WHOLE_RECORDING:
        chunk = left = None
    oracle = DenseZipformer(encoder, encoder.config)
    return oracle(features, chunk, left, options["max_future_frames"])


def check_batch(
    encoder: ZipformerEncoder,
    lengths: list[int],
    tolerance: float,
    *,
    columns: int | None = None,
    **options: int | None,
) -> None:
    """A padded batch against each recording alone; noise stands in the padding."""
    dtype = encoder.stem.norm.bias.dtype
    columns = max(lengths) if columns is None else columns
    features = noise(len(lengths), columns, INPUT_DIM, seed=sum(lengths), dtype=dtype)
    out = encoder(features, torch.tensor(lengths), **options)
    assert out["encoder_out"].shape == (len(lengths), columns // 2, encoder.config.output_dim)
    assert out["encoder_out"].dtype == dtype
    assert out["encoder_out_lengths"].tolist() == [length // 2 for length in lengths]
    for row, length in enumerate(lengths):
        y = out["encoder_out"][row]
        expected = dense(encoder, features[row, :length], **options)
        assert largest_difference(y[: length // 2].double(), expected) < tolerance
        assert not y[length // 2 :].any()


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("future", FUTURES)
@pytest.mark.parametrize("left", [0, 8, 64])
@pytest.mark.parametrize("chunk", CHUNK_SIZES)
def test_every_chunking(chunk: int, left: int, future: int | None) -> None:
    options = {"chunk_size": chunk, "left_context": left, "max_future_frames": future}
    check_batch(small_encoder(4), [175], FLOAT64, **options)


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("chunk, future", [(8, 0), (16, None), (24, 4), (64, 1)])
def test_left_context_of_128(chunk: int, future: int | None) -> None:
    """Long enough that the left context is full and then leaves frames behind."""
    options = {"chunk_size": chunk, "left_context": 128, "max_future_frames": future}
    check_batch(small_encoder(4), [335], FLOAT64, **options)


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("future", FUTURES)
def test_whole_recording(future: int | None) -> None:
    """One chunk without a limit on either side, whatever the left context."""
    options = {"chunk_size": WHOLE_RECORDING, "left_context": None, "max_future_frames": future}
    check_batch(small_encoder(4), [203, 40, 3], FLOAT64, **options)


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("chunk", [*CHUNK_SIZES, WHOLE_RECORDING])
@pytest.mark.parametrize("future", FUTURES)
def test_without_memory(chunk: int, future: int | None) -> None:
    options = {"chunk_size": chunk, "left_context": 16, "max_future_frames": future}
    check_batch(small_encoder(0), [90], FLOAT64, **options)


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize(
    "chunk, left, future",
    [(8, 8, None), (16, 64, 0), (16, 64, None), (24, 8, 4), (WHOLE_RECORDING, 0, 1)],
)
def test_ragged_batch(memory: int, chunk: int, left: int, future: int | None) -> None:
    options = {"chunk_size": chunk, "left_context": left, "max_future_frames": future}
    lengths = [101, 0, 1, 2, 15, 16, 17, 32, 48, 80]
    check_batch(small_encoder(memory), lengths, FLOAT64, **options)


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize("columns", [0, 1, 2, 15, 16, 17, 33])
def test_short_recordings(columns: int) -> None:
    options = {"chunk_size": 16, "left_context": 64, "max_future_frames": None}
    check_batch(small_encoder(4), [columns], FLOAT64, **options)
    check_batch(small_encoder(4), [columns // 2, columns], FLOAT64, columns=columns + 7, **options)


@pytest.mark.parametrize("memory", [0, 4])
@pytest.mark.parametrize("chunk, left", [(8, 8), (16, 128), (64, 64), (WHOLE_RECORDING, 0)])
@pytest.mark.parametrize("future", [None, 0, 1])
def test_float32_with_its_own_positions(
    memory: int, chunk: int, left: int, future: int | None
) -> None:
    options = {"chunk_size": chunk, "left_context": left, "max_future_frames": future}
    check_batch(small_encoder(memory, torch.float32), [111, 38], FLOAT32, **options)


@pytest.mark.parametrize("seed", range(1, 4))
def test_other_weights(seed: int) -> None:
    options = {"chunk_size": 16, "left_context": 32, "max_future_frames": 2}
    check_batch(small_encoder(4, torch.float32, seed), [120], FLOAT32, **options)


@pytest.mark.parametrize("left, chunk, dim", [(0, 1, 8), (16, 8, 8), (128, 64, 48), (1000, 8, 48)])
def test_position_encoding(left: int, chunk: int, dim: int) -> None:
    rows = attention.relative_positions(left, chunk, dim, torch.device("cpu"))
    assert rows.shape == (left + 2 * chunk - 1, dim)
    for row, values in enumerate(rows):
        expected = position_code(row - (left + chunk - 1), dim)
        assert largest_difference(values.double(), expected) < 1e-5


def test_position_encoding_by_hand() -> None:
    """dim 4: offset 0 has angle 0; offset 2 has compression 2, so 2 log 2 and atan(pi log 2)."""
    rows = attention.relative_positions(2, 1, 4, torch.device("cpu"))
    angle = math.atan(math.pi * math.log(2))
    assert rows[2].tolist() == [1.0, 0.0, 1.0, 1.0]
    expected = [math.cos(angle), -math.sin(angle), math.cos(2 * angle), 1.0]
    assert rows[0].tolist() == pytest.approx(expected, abs=1e-6)
