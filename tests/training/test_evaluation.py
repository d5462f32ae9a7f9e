"""The spread of encoder outputs: healthy, collapsed, and the same however it is gathered."""

import pytest
import torch
from torch import nn

from echostream.config import load_config
from echostream.encoder import registry
from echostream.training.evaluation import OutputSpread


def spread(*outputs: torch.Tensor) -> OutputSpread:
    gathered = OutputSpread()
    for output in outputs:
        gathered.add(output)
    return gathered


def measure(*outputs: torch.Tensor) -> tuple[float, ...]:
    """Variance over frames and over utterances, dimensions."""
    return tuple(spread(*outputs).figures().values())


def random_outputs(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(30 + n, 6, generator=generator) for n in range(count)]


def test_figures_worked_out_by_hand() -> None:
    frames, utterances, dimensions = measure(*random_outputs(40))
    assert (frames, dimensions) == (pytest.approx(1.0, abs=0.05), pytest.approx(6.0, abs=0.1))
    assert utterances < 0.05
    # Frames 0 and 2 around 1, and 3 and 5 around 4, in the first channel; the second is always 1.
    found = measure(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[3.0, 1.0], [5.0, 1.0]]))
    mean_square = ((0 + 4 + 9 + 25) / 4 + 1.0) / 2
    assert found == pytest.approx((0.5 / mean_square, 2.25 / 2 / mean_square, 1.0))
    assert measure() == measure(torch.zeros(0, 4)) == (0.0, 0.0, 0.0)


def test_one_vector_everywhere_or_for_each_recording_is_a_collapse() -> None:
    assert measure(*(torch.ones(20, 6) * 3.0 for _ in range(5)))[:2] == (0.0, 0.0)
    frames, utterances, _ = measure(*(torch.randn(1, 6).expand(20, 6) for _ in range(5)))
    assert frames == pytest.approx(0.0, abs=1e-12) and utterances > 0.1


def test_scale_does_not_matter_and_processes_add_up() -> None:
    outputs = random_outputs(7)
    whole = measure(*outputs)
    assert measure(*(100.0 * output for output in outputs)) == pytest.approx(whole)
    gathered = spread()
    for part in (spread(*outputs[::2]), spread(*outputs[1::2]), spread()):
        gathered.merge(part)
    assert tuple(gathered.figures().values()) == pytest.approx(whole)


def test_a_stem_with_pytorchs_own_initialisation_is_a_collapse() -> None:
    """What kept the first networks from learning anything; see ``docs/training.md``."""
    features = torch.randn(3, 120, 80, generator=torch.Generator().manual_seed(2))
    shares = []
    for own in (True, False):
        torch.manual_seed(1)
        encoder = registry.create(load_config("tiny").encoder).eval()
        if not own:
            for module in encoder.stem.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.reset_parameters()
        with torch.no_grad():
            shares.append(measure(*encoder(features)["encoder_out"])[0])
    healthy, collapsed = shares
    assert healthy > 0.2 and collapsed < 0.01
