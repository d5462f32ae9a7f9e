"""The encoder's mathematics a second time, as one plain offline computation.

Written from the description in the modules' docstrings and shares no code with them: one recording
at its exact length (no padding, no batch), dense ``[T, T]`` masks made by calling a predicate for
every pair of frames, convolutions as sums over taps, groups and memory segments by loops. There
are no chunk windows, no caches, no rearranged position scores. Everything is float64. Only
parameter values are read from the encoder under test, by name.

Symbols: ``T`` frames at a stack's rate, ``C`` channels.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from echostream.config import EncoderConfig

Allowed = Callable[[int, int], bool]
"""``allowed(i, j)``: whether frame ``i`` may see frame ``j``, both of the recording."""

RATES = (1, 2, 4, 8, 4, 2)


def allowed_at(
    rate: int, chunk: int | None, left: int | None, future: int | None
) -> tuple[Allowed, Allowed]:
    """The attention and the convolution rule of a stack pooling ``rate`` encoder frames.

    ``None`` is "without a limit". Convolution differs in one way: its past is not limited.
    """

    def ahead(i: int, j: int) -> bool:
        if chunk is not None and j // (chunk // rate) > i // (chunk // rate):
            return False
        return future is None or j <= i + future

    def attention(i: int, j: int) -> bool:
        return ahead(i, j) and (left is None or j >= i - left // rate)

    return attention, ahead


@functools.cache
def position_code(offset: int, size: int) -> Tensor:
    """What attention knows of ``key - query = offset`` frames, ``[size]``."""
    compression = math.sqrt(size)
    sign = (offset > 0) - (offset < 0)
    compressed = compression * sign * math.log((abs(offset) + compression) / compression)
    angle = math.atan(compressed / (size / (2 * math.pi)))
    code = []
    for harmonic in range(1, size // 2 + 1):
        code += [math.cos(harmonic * angle), math.sin(harmonic * angle)]
    code[-1] = 1.0
    return torch.tensor(code, dtype=torch.float64)


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def swoosh_l(x: Tensor) -> Tensor:
    return softplus(x - 4) - 0.08 * x - 0.035


def swoosh_r(x: Tensor) -> Tensor:
    return softplus(x - 1) - 0.08 * x - 0.313261687


class DenseZipformer:
    """``__call__`` encodes one recording ``[T, F]`` to ``[T // 2, C]``."""

    def __init__(self, encoder: torch.nn.Module, config: EncoderConfig) -> None:
        self.config = config
        self.weights = {k: v.detach().double() for k, v in encoder.named_parameters()}

    def __call__(
        self, features: Tensor, chunk: int | None, left: int | None, future: int | None
    ) -> Tensor:
        frames = features.shape[0] // 2
        if frames == 0:
            return torch.zeros(0, self.config.output_dim, dtype=torch.float64)
        x = self.stem(features.double()[: 2 * frames])
        outputs = []
        for index in range(6):
            rules = allowed_at(RATES[index], chunk, left, future)
            x = self.stack(x, index, *rules)
            outputs.append(x)
        # Channel c comes from the latest stack that has it.
        channels = []
        for c in range(self.config.output_dim):
            latest = [y for y in outputs if y.shape[1] > c][-1]
            channels.append(latest[:, c])
        y = torch.stack(channels, dim=1)
        return self.memory(y) if self.config.memory_size else y

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def norm(self, name: str, x: Tensor) -> Tensor:
        away = x - self.weights[f"{name}.bias"]
        size = ((away * away).sum(1) / x.shape[1] + 1e-8).sqrt()
        return x / size[:, None] * math.exp(self.weights[f"{name}.log_scale"])

    def bypass(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        scale = self.weights[f"{name}.scale"]
        return (1 - scale) * before + scale * after

    def stem(self, features: Tensor) -> Tensor:
        """Encoder frame t from feature frames 2 t - 7 .. 2 t + 1, zeros before the first."""
        silence = torch.zeros(7, features.shape[1], dtype=torch.float64)
        x = torch.cat((silence, features)).unsqueeze(0)
        for name, stride in (("conv1", (1, 1)), ("conv2", (2, 2)), ("conv3", (1, 2))):
            x = swoosh_r(self.conv2d(f"stem.{name}", x, *stride))
        flat = torch.stack([x[:, t].reshape(-1) for t in range(x.shape[1])])
        return self.norm("stem.norm", self.linear("stem.projection", flat))

    def conv2d(self, name: str, x: Tensor, step_time: int, step_bin: int) -> Tensor:
        """``[c, time, bins]``; one zero bin on either side, nothing in time."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        edge = torch.zeros(x.shape[0], x.shape[1], 1, dtype=torch.float64)
        x = torch.cat((edge, x, edge), dim=2)
        times = range(0, x.shape[1] - 2, step_time)
        bins = range(0, x.shape[2] - 2, step_bin)
        rows = []
        for t in times:
            row = [
                torch.einsum("ocij,cij->o", weight, x[:, t : t + 3, f : f + 3]) + bias for f in bins
            ]
            rows.append(torch.stack(row, dim=1))
        return torch.stack(rows, dim=1)

    def stack(self, x: Tensor, index: int, sees: Allowed, ahead: Allowed) -> Tensor:
        name, rate, width = f"stacks.{index}", RATES[index], self.config.widths[index]
        fitted = torch.zeros(x.shape[0], width, dtype=torch.float64)
        common = min(width, x.shape[1])
        fitted[:, :common] = x[:, :common]
        x = before = fitted
        if rate > 1:
            mixing = torch.exp(self.weights[f"{name}.downsample.weight"])
            groups = []
            for start in range(0, x.shape[0], rate):
                group = x[start : start + rate]
                part = mixing[: group.shape[0]]
                groups.append((part[:, None] * group).sum(0) / part.sum())
            x = torch.stack(groups)
        for layer in range(self.config.layers[index]):
            x = self.layer(f"{name}.layers.{layer}", x, self.config.heads[index], sees, ahead)
        if rate > 1:
            repeated = torch.stack([x[t // rate] for t in range(before.shape[0])])
            x = self.bypass(f"{name}.bypass", before, repeated)
        return x

    def layer(self, name: str, x: Tensor, heads: int, sees: Allowed, ahead: Allowed) -> Tensor:
        before = x
        attention = self.attention(f"{name}.attention_weights", x, heads, sees)
        x = x + self.feed_forward(f"{name}.feed_forward1", x)
        gate_in, value, gate_out = self.linear(f"{name}.nonlinear_attention.in_proj", x).chunk(3, 1)
        mixed = attention[0] @ (value * torch.tanh(gate_in)) * gate_out
        x = x + self.linear(f"{name}.nonlinear_attention.out_proj", mixed)
        x = x + self.values(f"{name}.self_attention1", x, attention)
        x = x + self.convolution(f"{name}.convolution1", x, ahead)
        x = x + self.feed_forward(f"{name}.feed_forward2", x)
        x = self.bypass(f"{name}.bypass_middle", before, x)
        x = x + self.values(f"{name}.self_attention2", x, attention)
        x = x + self.convolution(f"{name}.convolution2", x, ahead)
        x = x + self.feed_forward(f"{name}.feed_forward3", x)
        return self.bypass(f"{name}.bypass", before, self.norm(f"{name}.norm", x))

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.out_proj", swoosh_l(self.linear(f"{name}.in_proj", x)))

    def attention(self, name: str, x: Tensor, heads: int, sees: Allowed) -> list[Tensor]:
        """One ``[T, T]`` matrix of weights for each head; rows are queries."""
        size, pos_size, pos_dim = (
            self.config.query_head_dim,
            self.config.pos_head_dim,
            self.config.pos_dim,
        )
        total = x.shape[0]
        projected = self.linear(f"{name}.in_proj", x)
        query = projected[:, : heads * size]
        key = projected[:, heads * size : 2 * heads * size]
        pos_query = projected[:, 2 * heads * size :]
        offsets = range(-(total - 1), total)
        codes = torch.stack([position_code(offset, pos_dim) for offset in offsets])
        code_keys = self.linear(f"{name}.pos_proj", codes)
        index = torch.tensor([[j - i + total - 1 for j in range(total)] for i in range(total)])
        visible = torch.tensor([[sees(i, j) for j in range(total)] for i in range(total)])
        result = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            own_pos = slice(head * pos_size, (head + 1) * pos_size)
            scores = query[:, own] @ key[:, own].T
            scores = scores + torch.einsum(
                "ic,ijc->ij", pos_query[:, own_pos], code_keys[index][:, :, own_pos]
            )
            shares = torch.exp(scores - scores.max()) * visible
            result.append(shares / shares.sum(1, keepdim=True))
        return result

    def values(self, name: str, x: Tensor, attention: list[Tensor]) -> Tensor:
        value = self.linear(f"{name}.in_proj", x)
        parts = value.chunk(len(attention), dim=1)
        mixed = [a @ part for a, part in zip(attention, parts, strict=True)]
        return self.linear(f"{name}.out_proj", torch.cat(mixed, dim=1))

    def convolution(self, name: str, x: Tensor, ahead: Allowed) -> Tensor:
        first, second = self.linear(f"{name}.in_proj", x).chunk(2, dim=1)
        gated = first / (1 + torch.exp(-second))
        total = x.shape[0]
        past = self.weights[f"{name}.past_taps.weight"][:, 0]
        future = self.weights[f"{name}.future_taps.weight"][:, 0]
        reach = past.shape[1] - 1
        mixed = self.weights[f"{name}.past_taps.bias"].repeat(total, 1)
        for i in range(total):
            for offset in range(-reach, reach + 1):
                j = i + offset
                if 0 <= j < total and ahead(i, j):
                    tap = past[:, reach + offset] if offset <= 0 else future[:, offset - 1]
                    mixed[i] += tap * gated[j]
        return self.linear(f"{name}.out_proj", swoosh_r(mixed))

    def memory(self, x: Tensor) -> Tensor:
        """Each frame attends to the last M segments before its own and to the learned slot."""
        size, length = self.config.memory_size, self.config.memory_segment
        heads = max(self.config.heads)
        width = self.config.memory_dim // heads
        result = []
        for t in range(x.shape[0]):
            own = t // length
            slots = []
            for segment in range(max(0, own - size), own):
                mean = x[segment * length : (segment + 1) * length].mean(0)
                slots.append(torch.tanh(self.linear("memory.summary", mean)))
            slots.append(self.weights["memory.empty_slot"])
            pairs = self.linear("memory.key_value", torch.stack(slots))
            key, value = pairs[:, : heads * width], pairs[:, heads * width :]
            query = self.linear("memory.query", x[t])
            mixed = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                shares = torch.softmax(key[:, part] @ query[part] / math.sqrt(width), dim=0)
                mixed.append(shares @ value[:, part])
            result.append(x[t] + self.linear("memory.output", torch.cat(mixed)))
        return torch.stack(result)
