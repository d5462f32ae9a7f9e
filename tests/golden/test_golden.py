"""The shipped checkpoint gives what it gave when it was committed."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from tests.golden.make import GOLDEN, compute


@pytest.mark.parametrize("name", ["features", "encoder_out", "st_log_probs"])
def test_shipped_checkpoint_gives_the_golden_tensors(name: str) -> None:
    golden = safetensors.torch.load_file(GOLDEN)[name]
    torch.testing.assert_close(compute()[name], golden, rtol=1e-3, atol=1e-3)
