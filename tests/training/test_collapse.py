"""The spread of encoder outputs: healthy, collapsed, and the same however it is gathered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echostream.config import EncoderConfig
from echostream.encoder import ZipformerEncoder
from echostream.training.collapse import OutputSpread, Spread

TINY = {
    "embed_dim": (96, 128, 160, 160, 128, 96),
    "num_heads": 4,
    "ffn_dim": (256, 320, 384, 448, 320, 256),
    "num_layers_per_stack": 1,
    "stem_channels": (8, 16, 32),
    "memory_dim": 96,
}


def measure(*outputs: torch.Tensor) -> Spread:
    spread = OutputSpread()
    for output in outputs:
        spread.add(output)
    return spread.measure()


def random_outputs(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(30 + n, 6, generator=generator) for n in range(count)]


def test_independent_frames_use_all_dimensions() -> None:
    found = measure(*random_outputs(40))
    assert found.frames == pytest.approx(1.0, abs=0.05)
    assert found.utterances < 0.05
    assert found.dimensions == pytest.approx(6.0, abs=0.1)


def test_figures_worked_out_by_hand() -> None:
    # Frames 0 and 2 around 1, and 3 and 5 around 4, in the first channel; the second is always 1.
    first = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    second = torch.tensor([[3.0, 1.0], [5.0, 1.0]])
    found = measure(first, second)
    mean_square = ((0 + 4 + 9 + 25) / 4 + 1.0) / 2
    assert found.frames == pytest.approx(0.5 / mean_square)
    assert found.utterances == pytest.approx(2.25 / 2 / mean_square)
    assert found.dimensions == pytest.approx(1.0)


def test_the_same_vector_everywhere_is_a_collapse() -> None:
    found = measure(*(torch.ones(20, 6) * 3.0 for _ in range(5)))
    assert found.frames == 0.0 and found.utterances == 0.0


def test_a_vector_of_its_own_for_each_recording_is_a_collapse_over_frames() -> None:
    found = measure(*(torch.randn(1, 6).expand(20, 6) for _ in range(5)))
    assert found.frames == pytest.approx(0.0, abs=1e-12) and found.utterances > 0.1


def test_scale_does_not_matter_and_processes_add_up() -> None:
    outputs = random_outputs(7)
    whole = measure(*outputs)
    scaled = measure(*(100.0 * output for output in outputs))
    parts = OutputSpread(), OutputSpread(), OutputSpread()
    for number, output in enumerate(outputs):
        parts[number % 2].add(output)
    for part in parts[1:]:
        parts[0].merge(part)
    for other in (scaled, parts[0].measure()):
        assert other.frames == pytest.approx(whole.frames)
        assert other.utterances == pytest.approx(whole.utterances)
        assert other.dimensions == pytest.approx(whole.dimensions)


def test_nothing_gives_nothing() -> None:
    assert measure() == measure(torch.zeros(0, 4)) == Spread(0.0, 0.0, 0.0)


def test_a_stem_with_pytorchs_own_initialisation_is_a_collapse() -> None:
    """What kept the first networks from learning anything; see ``docs/training.md``."""
    features = torch.randn(3, 120, 80, generator=torch.Generator().manual_seed(2))
    shares = []
    for own in (True, False):
        torch.manual_seed(1)
        encoder = ZipformerEncoder.from_config(EncoderConfig(**TINY)).eval()
        if not own:
            for module in encoder.stem.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.reset_parameters()
        with torch.no_grad():
            shares.append(measure(*encoder(features)["encoder_out"]).frames)
    healthy, collapsed = shares
    assert healthy > 0.2 and collapsed < 0.01
