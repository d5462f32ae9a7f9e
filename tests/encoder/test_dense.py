"""``forward`` against the dense oracle, which shares no code with it."""

import itertools

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
    **options: int | None,
) -> None:
    """A padded batch against each recording alone; noise stands in the padding."""
    dtype = encoder.stem.norm.bias.dtype
    columns = max(lengths) + 3
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


LENGTHS = [101, 0, 1, 2, 15, 16, 17, 32, 48, 80]
SIZES = (*CHUNK_SIZES, WHOLE_RECORDING)
CASES = [
    *((4, *case, [175]) for case in itertools.product(CHUNK_SIZES, (0, 8, 64), FUTURES)),
    # A left context that is full and then leaves frames behind.
    *((4, chunk, 128, future, [335]) for chunk, future in ((8, 0), (16, None), (24, 4), (64, 1))),
    # One chunk without a limit on either side, whatever the left context.
    *((4, WHOLE_RECORDING, None, future, [203, 40, 3]) for future in FUTURES),
    *((0, *case, [90]) for case in itertools.product(SIZES, (16,), FUTURES)),
    *(
        (memory, *case, LENGTHS)
        for memory in (0, 4)
        for case in ((8, 8, None), (16, 64, 0), (16, 64, None), (24, 8, 4), (WHOLE_RECORDING, 0, 1))
    ),
]


@pytest.mark.usefixtures("exact_positions")
@pytest.mark.parametrize(("memory", "chunk", "left", "future", "lengths"), CASES, ids=str)
def test_forward(
    memory: int, chunk: int, left: int | None, future: int | None, lengths: list[int]
) -> None:
    options = {"chunk_size": chunk, "left_context": left, "max_future_frames": future}
    check_batch(small_encoder(memory), lengths, FLOAT64, **options)


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
