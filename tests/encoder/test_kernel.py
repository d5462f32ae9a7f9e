"""The encoder as the kernel computes it, against the encoder as it is written."""

import pytest
import torch
from torch import Tensor

from echostream.encoder import linear
from echostream.encoder.stream_state import StreamState
from echostream.kernel import library
from tests.kernel.needs import needs_compiler

from .small_encoder import CHUNK_SIZES, FUTURES, INPUT_DIM, noise, small_encoder

Patch = pytest.MonkeyPatch
BATCH = 3


def without_kernel(patch: Patch) -> None:
    for room in (library, linear):
        patch.setattr(room, "shared_kernel", lambda: None)


def streamed(chunking: dict[str, int | None], batch: int = BATCH) -> tuple[Tensor, StreamState]:
    """Frames of ragged segments, one stream ending before the others, and the last state."""
    encoder = small_encoder(4, torch.float32)
    features = noise(BATCH, 331, INPUT_DIM, dtype=torch.float32)[:batch]
    state, outputs = encoder.init_state(batch, **chunking), []
    for start, end in ((0, 90), (90, 91), (91, 250), (250, 331)):
        piece = features[:, start:end]
        lengths = torch.tensor([end - start] * batch)
        if end == 331 and batch > 1:
            lengths[-1] = 5
        y, _, state = encoder.step(piece, state, lengths, is_final=end == 331)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


@needs_compiler
@pytest.mark.parametrize(
    ("chunk_size", "left_context", "future"),
    [
        (chunk, left, FUTURES[(row + column) % 4])
        for row, chunk in enumerate(CHUNK_SIZES)
        for column, left in enumerate((0, 24, 192))
    ],
)
def test_equals_the_modules(
    chunk_size: int, left_context: int, future: int | None, monkeypatch: Patch
) -> None:
    chunking = {
        "chunk_size": chunk_size,
        "left_context": left_context,
        "max_future_frames": future,
    }
    y, state = streamed(chunking)
    alone, _ = streamed(chunking, batch=1)
    without_kernel(monkeypatch)
    expected, expected_state = streamed(chunking)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[0], expected[0], atol=1e-5, rtol=1e-5)
    assert not torch.equal(y, expected), "the kernel was used"
    for (name, tensor), (_, other) in zip(
        state.named_tensors(), expected_state.named_tensors(), strict=True
    ):
        torch.testing.assert_close(tensor, other, atol=1e-5, rtol=1e-5, msg=name)


@needs_compiler
def test_a_chunk_longer_than_the_kernel_is_for() -> None:
    """Of which the modules' own form makes the same as of shorter ones."""
    encoder = small_encoder(4, torch.float32)
    features = noise(1, 2 * 200, INPUT_DIM, dtype=torch.float32)
    chunking = {"left_context": 256, "max_future_frames": 0}
    with torch.no_grad():
        long, short = (
            encoder(features, chunk_size=size, **chunking)["encoder_out"] for size in (136, 8)
        )
    torch.testing.assert_close(long, short, atol=1e-5, rtol=1e-5)


def test_gradients_go_through_the_modules() -> None:
    """Not through the kernel, which has none."""
    encoder = small_encoder(4, torch.float32)
    features = noise(1, 32, INPUT_DIM, dtype=torch.float32).requires_grad_()
    encoder(features, chunk_size=16, left_context=32)["encoder_out"].sum().backward()
    assert features.grad is not None and float(features.grad.abs().min(dim=1).values.max()) > 0
