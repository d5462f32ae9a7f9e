from __future__ import annotations

import pytest
import torch

from echostream.config import load_config
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.model import SpeechModel


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_specifications_call() -> None:
    """42.15M within 2 %, and 512 channels; ``configs/base.yaml`` is the same encoder."""
    with torch.device("meta"):
        encoder = ZipformerEncoder(
            input_dim=80,
            embed_dim=512,
            num_heads=8,
            ffn_dim=2048,
            num_layers_per_stack=2,
            memory_size=4,
            max_future_frames=0,
        )
    assert abs(count(encoder) / 42.15e6 - 1) < 0.02
    assert encoder.config.output_dim == 512
    assert encoder.config.widths == (192, 256, 384, 512, 384, 256)
    assert encoder.config.heads == (3, 4, 6, 8, 6, 4)
    assert encoder.config.layers == (2,) * 6


def test_base_configuration(request: pytest.FixtureRequest) -> None:
    config = load_config(request.config.rootpath / "configs" / "base.yaml")
    with torch.device("meta"):
        from_file = ZipformerEncoder.from_config(config.encoder)
        from_defaults = ZipformerEncoder()
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
        for encoder in (from_file, from_defaults)
    ]
    assert shapes[0] == shapes[1]
    assert abs(count(from_file) / 42.15e6 - 1) < 0.02


def test_tiny_configuration(request: pytest.FixtureRequest) -> None:
    """The whole system that is trained and shipped: at most 4M."""
    config = load_config(request.config.rootpath / "configs" / "tiny.yaml")
    with torch.device("meta"):
        model = SpeechModel(config)
    assert 3e6 < model.num_parameters <= 4e6
    assert model.num_parameters == count(model)


def test_memory_bank_is_optional() -> None:
    """M = 0 takes the bank away, parameters and all, and nothing else."""
    with torch.device("meta"):
        with_bank, without = ZipformerEncoder(), ZipformerEncoder(memory_size=0)
    assert with_bank.memory is not None and without.memory is None
    assert count(with_bank) - count(without) == count(with_bank.memory)
