"""The shipped checkpoint gives what it gave when it was committed."""

import pytest
import safetensors.torch
import torch

from echostream.model import load_model
from echostream.shipped import SHIPPED_CHECKPOINT
from tests.golden.make import GOLDEN, compute

FINGERPRINT = "415e63369ae004093e9d38042b423fa0d846751c6ac4e3e35b2b09c1636c559d"
"""As it was first given: later keys must not change what a saved stream belongs to."""


@pytest.mark.parametrize("name", ["features", "encoder_out", "st_log_probs"])
def test_shipped_checkpoint_gives_the_golden_tensors(name: str) -> None:
    golden = safetensors.torch.load_file(GOLDEN)[name]
    torch.testing.assert_close(compute()[name], golden, rtol=1e-3, atol=1e-3)


def test_shipped_checkpoint_keeps_its_fingerprint() -> None:
    assert load_model(SHIPPED_CHECKPOINT).fingerprint() == FINGERPRINT
