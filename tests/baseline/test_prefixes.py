"""What an encoder frame depends on: the published code's sound and unsound chunk sizes.

The figures of the first table were measured on the published code (two layers of random weights,
1000 feature frames).
"""

import pytest

from tests.encoder.small_encoder import largest_difference, noise

from .small_conformer import INPUT_DIM, REVISED, STREAMED, WHOLE, small_conformer

LAST_FRAME_HEARD = {
    1: 249, 3: 563, 5: 697, 7: 769, 9: 809, 15: 882,
    2: 999, 4: 999, 6: 999, 8: 999, 10: 999, 12: 999, 14: 999, 16: 999, 24: 999, 32: 999,
}  # fmt: skip


@pytest.mark.parametrize("chunk", LAST_FRAME_HEARD)
def test_odd_chunks_never_hear_the_end(chunk: int) -> None:
    encoder = small_conformer(conv_kernel=31)
    features = noise(1, 1000, INPUT_DIM).requires_grad_()
    y = encoder(features, chunk_size=chunk)["encoder_out"]
    (y * noise(*y.shape, seed=1)).sum().backward()
    assert features.grad is not None
    heard = features.grad[0].abs().amax(dim=1).nonzero()
    assert int(heard[-1]) == LAST_FRAME_HEARD[chunk]


def prefix_difference(chunk: int, conv_chunk: int, prefix: int) -> float:
    """How far the frames of the first ``prefix`` encoder frames' audio are from those of all."""
    encoder = small_conformer()
    features = noise(1, 4 * 96 + 17, INPUT_DIM)
    sizes = {"chunk_size": chunk, "conv_chunk_size": conv_chunk}
    whole = encoder(features, **sizes)["encoder_out"]
    part = encoder(features[:, : 4 * prefix], **sizes)["encoder_out"]
    return largest_difference(part, whole[:, :prefix])


@pytest.mark.parametrize(("chunk", "conv_chunk"), STREAMED)
def test_whole_chunks_are_final(chunk: int, conv_chunk: int) -> None:
    for prefix in range(chunk, 97, chunk):
        assert prefix_difference(chunk, conv_chunk, prefix) < 1e-12


@pytest.mark.parametrize(("chunk", "conv_chunk"), REVISED + WHOLE)
def test_frames_that_change_with_later_audio(chunk: int, conv_chunk: int) -> None:
    size = max(chunk, 1) if chunk < 99 else 48
    differences = [prefix_difference(chunk, conv_chunk, n) for n in range(size, 96, size)]
    assert max(differences) > 1e-2
