"""Attention (also to parts of a cache), convolution and activation of a chunk, in float64 too."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from echostream.encoder.ct_mask import HIDDEN
from echostream.kernel import Kernel

from .needs import needs_compiler
from .reference import swoosh_r

pytestmark = needs_compiler


class Sizes(NamedTuple):
    batch: int
    frames: int
    left: int
    heads: int
    query: int
    position: int
    value: int


sizes = st.builds(
    Sizes,
    batch=st.integers(1, 3),
    frames=st.integers(1, 19),
    left=st.integers(0, 45),
    heads=st.integers(1, 4),
    query=st.integers(1, 35),
    position=st.integers(1, 5),
    value=st.integers(1, 40),
)
seeds = st.integers(0, 99)


def blocks_of(past: Tensor) -> list[Tensor]:
    """The same past in as many blocks of as many frames as there can be, up to five."""
    left = past.shape[1]
    count = max(number for number in range(1, 6) if left % number == 0)
    return [block.contiguous() for block in past.chunk(count, dim=1)]


def inputs_of_weights(s: Sizes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Projected frames, past keys, encoded positions, mask; each query sees something."""
    projected = torch.randn(s.batch, s.frames, s.heads * (2 * s.query + s.position))
    past = torch.randn(s.batch, s.left, s.heads * s.query)
    positions = torch.randn(s.heads, s.position, s.left + 2 * s.frames - 1)
    mask = torch.zeros(s.batch, 1, s.frames, s.left + s.frames)
    mask[torch.rand(mask.shape) < 0.3] = HIDDEN
    mask[..., -1] = 0.0
    return projected, past, positions, mask


def weights_in_words(s: Sizes, given: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """One score after the other."""
    projected, past, positions, mask = (tensor.double() for tensor in given)
    ends = (s.heads * s.query, 2 * s.heads * s.query)
    keys = torch.cat((past, projected[..., ends[0] : ends[1]]), dim=1)
    scores = torch.empty(s.batch, s.heads, s.frames, s.left + s.frames, dtype=torch.float64)
    for h in range(s.heads):
        own = slice(h * s.query, (h + 1) * s.query)
        asked = projected[..., ends[1] + h * s.position : ends[1] + (h + 1) * s.position]
        for i in range(s.frames):
            for w in range(s.left + s.frames):
                # The last row is for the largest distance ahead.
                distance = s.frames - 1 + w - i
                scores[:, h, i, w] = (
                    (projected[:, i, : ends[0]][:, own] * keys[:, w, own]).sum(1)
                    + asked[:, i] @ positions[h, :, distance]
                    + mask[:, 0, i, w]
                )
    return scores.softmax(dim=-1)


@settings(deadline=None, max_examples=60)
@given(s=sizes, seed=seeds)
def test_attention_weights(kernel: Kernel, s: Sizes, seed: int) -> None:
    torch.manual_seed(seed)
    given = inputs_of_weights(s)
    projected, past, positions, mask = given
    weights = kernel.attention_weights(projected, [past], positions, mask, s.heads)
    torch.testing.assert_close(weights.double(), weights_in_words(s, given), atol=2e-5, rtol=1e-4)
    hidden = (mask < 0).expand(weights.shape)
    assert bool((weights[hidden] == 0).all())
    in_blocks = kernel.attention_weights(projected, blocks_of(past), positions, mask, s.heads)
    assert torch.equal(in_blocks, weights)
    for b in range(s.batch):
        row = slice(b, b + 1)
        alone = kernel.attention_weights(projected[row], [past[row]], positions, mask[row], s.heads)
        assert torch.equal(alone[0], weights[b])


@settings(deadline=None, max_examples=60)
@given(s=sizes, seed=seeds, more=st.integers(0, 2))
def test_attention_mix(kernel: Kernel, s: Sizes, seed: int, more: int) -> None:
    """Of weights with more heads than are used, as the nonlinear attention gives them."""
    torch.manual_seed(seed)
    weights = torch.rand(s.batch, s.heads + more, s.frames, s.left + s.frames).softmax(dim=-1)
    past = torch.randn(s.batch, s.left, s.heads * s.value)
    values = torch.randn(s.batch, s.frames, s.heads * s.value)
    mixed = kernel.attention_mix(weights, [past], values, s.heads)
    whole = torch.cat((past, values), dim=1).unflatten(2, (s.heads, s.value)).double()
    expected = torch.einsum("bhsw,bwhv->bshv", weights[:, : s.heads].double(), whole).flatten(2)
    torch.testing.assert_close(mixed.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(kernel.attention_mix(weights, blocks_of(past), values, s.heads), mixed)
    for b in range(s.batch):
        row = slice(b, b + 1)
        alone = kernel.attention_mix(weights[row], [past[row]], values[row], s.heads)
        assert torch.equal(alone[0], mixed[b])


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 20),
    history=st.integers(0, 16),
    ahead=st.integers(0, 16),
    channels=st.integers(1, 40),
    seed=seeds,
)
def test_depthwise(
    kernel: Kernel, batch: int, frames: int, history: int, ahead: int, channels: int, seed: int
) -> None:
    torch.manual_seed(seed)
    past, x = torch.randn(batch, history, channels), 3 * torch.randn(batch, frames, channels)
    taps, bias = torch.randn(history + 1 + ahead, channels), torch.randn(channels)
    y = kernel.depthwise_swoosh(past, x, taps, bias)
    window = functional.pad(torch.cat((past, x), dim=1), (0, 0, 0, ahead)).double()
    expected = functional.conv1d(
        window.transpose(1, 2), taps.T[:, None].double(), bias.double(), groups=channels
    )
    torch.testing.assert_close(y.double(), swoosh_r(expected.transpose(1, 2)), atol=1e-5, rtol=1e-5)
    for b in range(batch):
        row = slice(b, b + 1)
        assert torch.equal(kernel.depthwise_swoosh(past[row], x[row], taps, bias)[0], y[b])


def test_swoosh_everywhere(kernel: Kernel) -> None:
    """From where the exponential vanishes to where the linear part is all."""
    x = torch.cat(
        (torch.linspace(-120, 120, 100_001), torch.linspace(0.9, 1.1, 1001), torch.tensor([1e30]))
    )
    error = (kernel.swoosh_r(x).double() - swoosh_r(x)).abs()
    assert float((error / swoosh_r(x).abs().clamp(min=1.0)).max()) < 4e-7
    assert kernel.swoosh_r(torch.zeros(3)).abs().max() < 1e-7


@pytest.mark.parametrize("channels", [1, 16, 37])
def test_gates(kernel: Kernel, channels: int) -> None:
    torch.manual_seed(0)
    projected = 8 * torch.randn(2, 5, 3 * channels)
    projected[0, 0] = torch.linspace(-100, 100, 3 * channels)
    valid = (torch.rand(2, 5, 1) < 0.7).float()
    gate, value, _ = projected.double().chunk(3, dim=-1)
    torch.testing.assert_close(
        kernel.gated_tanh(projected).double(), value * gate.tanh(), atol=1e-5, rtol=1e-6
    )
    pairs = projected[..., : 2 * channels]
    assert not pairs.is_contiguous()
    torch.testing.assert_close(
        kernel.gated_sigmoid(pairs, valid).double(),
        functional.glu(pairs.double(), dim=-1) * valid,
        atol=1e-5,
        rtol=1e-6,
    )


@pytest.mark.parametrize("shape", [(0,), (1,), (15,), (2, 3, 5, 7)])
def test_swoosh_of_any_shape(kernel: Kernel, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    y = kernel.swoosh_r(x)
    torch.testing.assert_close(y.double(), swoosh_r(x))
    if x.dim() == 4:
        across = x.to(memory_format=torch.channels_last)
        assert torch.equal(kernel.swoosh_r(across), y)
        assert torch.equal(kernel.swoosh_r(x.transpose(1, 3)), y.transpose(1, 3))


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_with_its_stream(kernel: Kernel, rubbish: float) -> None:
    """And is not made a number of either."""
    torch.manual_seed(0)
    s = Sizes(3, 4, 8, 2, 6, 3, 5)
    given = inputs_of_weights(s)
    values, past = torch.randn(3, 4, 10), torch.randn(3, 8, 10)
    x, past_x, taps = torch.randn(3, 4, 20), torch.randn(3, 6, 20), torch.randn(7, 20)

    def everything() -> dict[str, Tensor]:
        weights = kernel.attention_weights(given[0], [given[1]], *given[2:], s.heads)
        return {
            "weights": weights,
            "mixed": kernel.attention_mix(weights, [past], values, s.heads),
            "depthwise": kernel.depthwise_swoosh(past_x, x, taps, torch.zeros(20)),
            "swoosh": kernel.swoosh_r(x),
            "sigmoid": kernel.gated_sigmoid(x, torch.ones(3, 4, 1)),
            "tanh": kernel.gated_tanh(x[..., :18]),
        }

    before = everything()
    for tensor in (given[0], values, x):
        tensor[1] = rubbish
    after = everything()
    for name, y in after.items():
        assert torch.equal(y[[0, 2]], before[name][[0, 2]]), name
        assert not bool(y[1].isfinite().all()), name


@settings(deadline=None, max_examples=60)
@given(
    widths=st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any),
    count=st.integers(1, 9),
    heads=st.integers(1, 3),
    size=st.sampled_from((1, 5, 8, 16, 24, 40, 64, 96)),
    masks=st.sampled_from(("none", "one", "each")),
    seed=st.integers(0, 99),
)
def test_it_is_attention(
    kernel: Kernel, widths: list[int], count: int, heads: int, size: int, masks: str, seed: int
) -> None:
    torch.manual_seed(seed)
    queries = torch.randn(count, heads * size)
    parts = [torch.randn(2, heads, width, size) for width in widths]
    rows = {"none": 0, "one": 1, "each": count}[masks]
    mask = torch.randn(rows, sum(widths) if rows else 0)
    if rows and sum(widths) > 1:
        mask[:, seed % sum(widths)] = -torch.inf
    weights = kernel.cached_weights(queries, parts, mask, heads)
    mixed = kernel.cached_mix(weights, parts)
    keys, values = torch.cat(parts, dim=2).double()
    split = queries.double().view(count, heads, size).transpose(0, 1)
    scores = split @ keys.transpose(1, 2) / size**0.5
    expected = (scores + mask.double() if rows else scores).softmax(dim=2)
    torch.testing.assert_close(weights.double(), expected, atol=2e-6, rtol=1e-5)
    means = (expected @ values).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mixed.double(), means, atol=1e-5, rtol=1e-5)
    # A token gets the same bits alone and beside others.
    own = mask[-1:] if rows else mask
    assert torch.equal(kernel.cached_weights(queries[-1:], parts, own, heads), weights[:, -1:])
    assert torch.equal(kernel.cached_mix(weights[:, -1:], parts)[0], mixed[-1])
    # Parts are read where they lie: rows of a longer part, heads and channels in another order.
    longer = [torch.cat((part, part), dim=2)[:, :, part.shape[2] :] for part in parts]
    turned = [part.transpose(0, 1).contiguous().transpose(0, 1) for part in parts]
    spread = [torch.stack((part, part), dim=-1)[..., 0] for part in parts]
    for other in (longer, turned, spread):
        assert torch.equal(kernel.cached_weights(queries, other, mask, heads), weights)
        assert torch.equal(kernel.cached_mix(weights, other), mixed)
