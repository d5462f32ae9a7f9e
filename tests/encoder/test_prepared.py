"""Prepared values follow the parameters they were made from, whatever happens to those."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from echostream.encoder import linear
from echostream.encoder.attention import AttentionWeights
from echostream.encoder.convolution import Convolution
from echostream.encoder.linear import Linear
from echostream.encoder.prepared import PreparedModule
from echostream.encoder.stack import Downsample
from echostream.encoder.stem import Stem
from echostream.encoder.zipformer import ZipformerEncoder

from .small_encoder import (
    INPUT_DIM,
    fresh_encoder,
    keep_nothing_prepared,
    largest_difference,
    noise,
)

CHUNKING = {"chunk_size": 16, "left_context": 16, "max_future_frames": None}
FLOAT = torch.float32


def encoded(encoder: ZipformerEncoder) -> Tensor:
    """One chunk by ``step`` and many by ``forward``: both kinds of prepared values are used."""
    dtype = encoder.dtype
    features = noise(1, 80, INPUT_DIM, dtype=dtype)
    with torch.no_grad():
        whole = encoder(features, **CHUNKING)["encoder_out"]
        parts, _, _ = encoder.step(features, encoder.init_state(**CHUNKING), is_final=True)
    return torch.cat((whole, parts), dim=1)


def update(encoder: ZipformerEncoder) -> None:
    """As an optimiser does, without leaving evaluation mode."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.25)


def load(encoder: ZipformerEncoder) -> None:
    encoder.load_state_dict(fresh_encoder(1).state_dict())


def assign(encoder: ZipformerEncoder) -> None:
    encoder.load_state_dict(fresh_encoder(1).state_dict(), assign=True)


def replace_parameters(encoder: ZipformerEncoder) -> None:
    """As version counters start anew, a new parameter may have the old one's version."""
    for module in encoder.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(1.25 * parameter.detach()))


def replace_data(encoder: ZipformerEncoder) -> None:
    for parameter in encoder.parameters():
        parameter.data = 1.25 * parameter.detach()


def write_through_data(encoder: ZipformerEncoder) -> None:
    for parameter in encoder.parameters():
        parameter.data *= 1.25
    encoder.eval()


def widen(encoder: ZipformerEncoder) -> None:
    encoder.double()


@pytest.mark.parametrize(
    "change",
    [update, load, assign, replace_parameters, replace_data, write_through_data, widen],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("packed", [False, True])
def test_changed_weights_count_at_once(
    change: Callable[[ZipformerEncoder], None], packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if packed:  # By oneDNN, for which layers of this size are usually too small.
        monkeypatch.setattr(linear, "shared_kernel", lambda: None)
        monkeypatch.setattr(linear, "_LEAST_PACKED", 0)
    encoder = fresh_encoder()
    before = encoded(encoder)
    change(encoder)
    after = encoded(encoder)
    keep_nothing_prepared(monkeypatch)
    assert torch.equal(after, encoded(encoder))
    if change is not widen:
        assert largest_difference(before, after) > 1e-2


def test_training_reaches_what_is_prepared() -> None:
    """Values kept by an evaluation before are not used when gradients are wanted."""
    encoder = fresh_encoder()
    encoded(encoder)
    encoder(noise(1, 80, INPUT_DIM, dtype=FLOAT), **CHUNKING)[
        "encoder_out"
    ].square().sum().backward()
    for name, module in encoder.named_modules():
        if isinstance(module, PreparedModule):
            sources: list[Tensor] = []
            if isinstance(module, AttentionWeights):
                sources = [module.pos_proj.weight]
            elif isinstance(module, Convolution):
                sources = [module.past_taps.weight, module.future_taps.weight]
            elif isinstance(module, Downsample | Linear):
                sources = [module.weight]
            elif isinstance(module, Stem):
                sources = [module.conv1.weight, module.conv2.weight, module.conv3.bias]
            assert sources, f"{name} is a kind this test does not know"
            for source in sources:
                assert source.grad is not None and bool(source.grad.any()), name


def test_kept_in_inference_mode_and_used_in_training() -> None:
    encoder = fresh_encoder().requires_grad_(False)
    with torch.inference_mode():
        encoder(noise(1, 80, INPUT_DIM, dtype=FLOAT), **CHUNKING)
        encoder.step(
            noise(1, 80, INPUT_DIM, dtype=FLOAT), encoder.init_state(**CHUNKING), is_final=True
        )
    features = noise(1, 80, INPUT_DIM, dtype=FLOAT).requires_grad_()
    encoder(features, **CHUNKING)["encoder_out"].sum().backward()
    assert features.grad is not None and bool(features.grad.any())


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        encoder = fresh_encoder()
        first = encoded(encoder)
        update(encoder)
        second = encoded(encoder)
    assert largest_difference(first, second) > 1e-2


def test_few_settings_are_kept() -> None:
    """Whole recordings of any length must not fill the memory."""
    encoder = fresh_encoder()
    with torch.no_grad():
        for frames in range(16, 200, 16):
            encoder(noise(1, frames, INPUT_DIM, dtype=FLOAT), chunk_size=-1)
    for module in encoder.modules():
        if isinstance(module, PreparedModule):
            assert len(module._kept) <= 4


def test_nothing_of_it_is_saved() -> None:
    encoder = fresh_encoder()
    names = set(encoder.state_dict())
    encoded(encoder)
    assert set(encoder.state_dict()) == names == {name for name, _ in encoder.named_parameters()}


def test_a_functional_call_uses_the_parameters_it_is_given() -> None:
    layer = Linear(512, 512).eval()
    x = torch.randn(3, 512)
    with torch.no_grad():
        before = layer(x)
        given = {"weight": 2 * layer.weight.detach(), "bias": 2 * layer.bias.detach()}
        called = torch.func.functional_call(layer, given, (x,))
        torch.testing.assert_close(called, 2 * before, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(x), before, atol=0, rtol=0)
