"""A recording gets the same in a batch as alone, whatever stands in the padding."""

from __future__ import annotations

import pytest
import torch

from .small_conformer import INPUT_DIM, SETTINGS, largest_difference, noise, small_encoder

LENGTHS = (139, 64, 0, 1, 97)


@pytest.mark.parametrize(("chunk", "conv_chunk"), SETTINGS)
def test_recordings_of_different_lengths(chunk: int, conv_chunk: int) -> None:
    encoder = small_encoder()
    sizes = {"chunk_size": chunk, "conv_chunk_size": conv_chunk}
    recordings = [noise(1, total, INPUT_DIM, seed=total) for total in LENGTHS]
    batch = torch.full((len(LENGTHS), max(LENGTHS), INPUT_DIM), float("nan"), dtype=torch.float64)
    for row, recording in zip(batch, recordings, strict=True):
        row[: recording.shape[1]] = recording[0]
    out = encoder(batch, torch.tensor(LENGTHS), **sizes)
    assert out["encoder_out_lengths"].tolist() == [-(-total // 4) for total in LENGTHS]
    for row, recording in zip(out["encoder_out"], recordings, strict=True):
        alone = encoder(recording, **sizes)["encoder_out"][0]
        assert largest_difference(row[: len(alone)], alone) < 1e-10
        assert not row[len(alone) :].any()


def test_unused_end_of_the_whole_batch() -> None:
    encoder = small_encoder()
    features = noise(2, 90, INPUT_DIM)
    out = encoder(features, torch.tensor([70, 50]))["encoder_out"]
    shorter = encoder(features[:, :70], torch.tensor([70, 50]))["encoder_out"]
    assert out.shape[1] == 23 and not out[:, 18:].any()
    assert largest_difference(out[:, :18], shorter) < 1e-10
