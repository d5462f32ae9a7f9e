"""What an encoder frame depends on: the published code's sound and unsound chunk sizes.

The figures of the first table were measured on the published code (two layers of random weights,
1000 feature frames).
"""

import pytest
import torch

from tests.encoder.small_encoder import largest_difference, noise

from .small_conformer import INPUT_DIM, REVISED, STREAMED, WARPED, WHOLE, small_conformer

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


@pytest.mark.parametrize("prefix", [24, 48, 72, 96])
def test_960_ms_is_revised(prefix: int) -> None:
    """Attention chunks of 24 and convolution chunks of 16 end together only every 48 frames."""
    difference = prefix_difference(24, 16, prefix)
    assert difference < 1e-12 if prefix % 48 == 0 else difference > 1e-2


@pytest.mark.parametrize(("chunk", "conv_chunk"), REVISED + WHOLE)
def test_frames_that_change_with_later_audio(chunk: int, conv_chunk: int) -> None:
    size = max(chunk, 1) if chunk < 99 else 48
    differences = [prefix_difference(chunk, conv_chunk, n) for n in range(size, 96, size)]
    assert max(differences) > 1e-2


@pytest.mark.parametrize(("chunk", "conv_chunk"), WARPED)
def test_warped_frames_do_not_even_hear_their_own_chunk(chunk: int, conv_chunk: int) -> None:
    """They never change, since what belongs to a frame's time is heard much later or never."""
    features = noise(1, 4 * 96, INPUT_DIM)
    other = torch.cat((features[:, : 4 * 90], noise(1, 4 * 6, INPUT_DIM, seed=1)), dim=1)
    a, b = (
        small_conformer()(x, chunk_size=chunk, conv_chunk_size=conv_chunk)["encoder_out"]
        for x in (features, other)
    )
    assert torch.equal(a, b)


def test_published_agents_revise_the_last_chunk() -> None:
    """After ``n`` segments of 320 ms there are ``32 n - 2`` feature frames, two too few."""
    encoder = small_conformer()
    features = noise(1, 320, INPUT_DIM)
    final = encoder(features, chunk_size=8)["encoder_out"]
    for segments in (1, 4, 9):
        early = encoder(features[:, : 32 * segments - 2], chunk_size=8)["encoder_out"]
        assert early.shape[1] == 8 * segments
        changed = (early - final[:, : 8 * segments]).abs().amax(dim=2)[0] > 1e-9
        assert changed.tolist() == [False] * (8 * segments - 8) + [True] * 8


def test_only_whole_recordings_hear_everything() -> None:
    """With a chunk of -1 attention is causal but the convolutions look ahead.

    The last of 200 feature frames is in subsampled frame 49 of 50; each of two layers then reaches
    15 frames, half a kernel.
    """
    encoder = small_conformer(conv_kernel=31)
    features = noise(1, 200, INPUT_DIM)
    other = torch.cat((features[:, :-1], features[:, -1:] + 1), dim=1)
    for chunk, reached in ((-1, 19), (99999, 0)):
        a, b = (
            encoder(x, chunk_size=chunk, conv_chunk_size=chunk)["encoder_out"][0]
            for x in (features, other)
        )
        changed = (a - b).abs().amax(dim=1) > 1e-15
        assert int(changed.nonzero()[0]) == reached
