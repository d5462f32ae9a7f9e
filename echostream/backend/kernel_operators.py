"""The functions of the kernel as operators of compiled graphs.

Symbols: ``M`` rows, ``K`` inputs, ``N`` outputs; see :class:`echostream.kernel.ChunkKernel` for the
others. What stands here says what is computed and is what is traced; graphs call the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from echostream.encoder import activation
from echostream.errors import ConfigError
from echostream.kernel import (
    Kernel,
    packed_size,
    packed_size_int8,
    shared_kernel,
    stem_sizes,
    unpack_weights,
    unpack_weights_int8,
)


@torch.library.custom_op("echostream::packed_linear", mutates_args=())
def packed_linear(
    x: Tensor, weights: Tensor, offset: int, outputs: int, swoosh_epilogue: int
) -> Tensor:
    """The layer at ``offset`` in ``weights``, and SwooshL if wanted: ``[M, K] -> [M, N]``."""
    inputs = x.shape[1]
    packed = weights[offset : offset + packed_size(inputs, outputs)]
    y = functional.linear(x, *unpack_weights(packed, inputs, outputs))
    return activation.swoosh_l(y) if swoosh_epilogue else y


@torch.library.custom_op("echostream::packed_linear_add", mutates_args=())
def packed_linear_add(x: Tensor, weights: Tensor, offset: int, plus: Tensor) -> Tensor:
    """``plus`` [M, N] and the layer of as many outputs."""
    return plus + packed_linear(x, weights, offset, plus.shape[1], 0)


@torch.library.custom_op("echostream::packed_linear_int8", mutates_args=())
def packed_linear_int8(
    x: Tensor, weights: Tensor, offset: int, outputs: int, swoosh_epilogue: int
) -> Tensor:
    """As :func:`packed_linear`, of weights in bytes; inputs are rounded to bytes too."""
    inputs = x.shape[1]
    packed = weights[offset : offset + packed_size_int8(inputs, outputs)]
    weight, scales, bias = unpack_weights_int8(packed, inputs, outputs)
    steps = _steps(x, 1)
    y = functional.linear((x / steps).round(), weight) * steps * scales + bias
    return activation.swoosh_l(y) if swoosh_epilogue else y


@torch.library.custom_op("echostream::packed_linear_int8_add", mutates_args=())
def packed_linear_int8_add(x: Tensor, weights: Tensor, offset: int, plus: Tensor) -> Tensor:
    """``plus`` [M, N] and the layer of as many outputs, of weights in bytes."""
    return plus + packed_linear_int8(x, weights, offset, plus.shape[1], 0)


@torch.library.custom_op("echostream::attention_weights", mutates_args=())
def attention_weights(
    projected: Tensor, past: Sequence[Tensor], positions: Tensor, mask: Tensor, heads: int
) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.attention_weights`."""
    return _kernel().attention_weights(projected, past, positions, mask, heads)


@torch.library.custom_op("echostream::attention_mix", mutates_args=())
def attention_mix(weights: Tensor, past: Sequence[Tensor], values: Tensor, heads: int) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.attention_mix`."""
    return _kernel().attention_mix(weights, past, values, heads)


@torch.library.custom_op("echostream::depthwise_swoosh", mutates_args=())
def depthwise_swoosh(past: Tensor, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.depthwise_swoosh`."""
    return _kernel().depthwise_swoosh(past, x, taps, bias)


@torch.library.custom_op("echostream::stem", mutates_args=())
def stem(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.stem`."""
    return _kernel().stem(features, layers, outputs)


@torch.library.custom_op("echostream::stem_int8", mutates_args=())
def stem_int8(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
    """As :func:`stem`, with the second and third layer in bytes.

    Their inputs are rounded to bytes too, those of each frame together.
    """
    inputs = (1, *outputs[:2])
    first, *others = (
        out(layer, 9 * before, after)
        for out, layer, before, after in zip(
            (unpack_weights, unpack_weights_int8, unpack_weights_int8),
            layers,
            inputs,
            outputs,
            strict=True,
        )
    )
    x = activation.swoosh_r(
        functional.conv2d(features.unsqueeze(1), _taps(first[0]), first[1], padding=(0, 1))
    )
    for (weight, scales, bias), stride in zip(others, ((2, 2), (1, 2)), strict=True):
        steps = _steps(x, (1, 3))
        rounded = (x / steps).round() * steps
        taps = _taps(weight * scales[:, None])
        x = activation.swoosh_r(functional.conv2d(rounded, taps, bias, stride, padding=(0, 1)))
    return x.transpose(1, 2).flatten(2)


@torch.library.custom_op("echostream::gated_sigmoid", mutates_args=())
def gated_sigmoid(projected: Tensor, valid: Tensor) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.gated_sigmoid`."""
    return _kernel().gated_sigmoid(projected, valid)


@torch.library.custom_op("echostream::gated_tanh", mutates_args=())
def gated_tanh(projected: Tensor) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.gated_tanh`."""
    return _kernel().gated_tanh(projected)


@torch.library.custom_op("echostream::swoosh_r", mutates_args=())
def swoosh_r(x: Tensor) -> Tensor:
    """See :meth:`echostream.kernel.ChunkKernel.swoosh_r`."""
    return _kernel().swoosh_r(x)


def _steps(x: Tensor, together: int | tuple[int, ...]) -> Tensor:
    """Of numbers along the axes ``together``: the largest is 127 of them."""
    return x.abs().amax(dim=together, keepdim=True).clamp(min=1e-30) / 127


def _taps(weight: Tensor) -> Tensor:
    """Of a convolution, ``[N, I, 3, 3]``, from the inputs of a layer, frame, bin, channel."""
    return weight.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)


def _kernel() -> Kernel:
    kernel = shared_kernel()
    if kernel is None:
        raise ConfigError(
            "the kernel of backend inductor needs a C++ compiler: apt-get install g++"
        )
    return kernel


@packed_linear.register_fake
@packed_linear_int8.register_fake
def _linear_result(
    x: Tensor, weights: Tensor, offset: int, outputs: int, swoosh_epilogue: int
) -> Tensor:
    return x.new_empty(x.shape[0], outputs)


@packed_linear_add.register_fake
@packed_linear_int8_add.register_fake
def _sum_result(x: Tensor, weights: Tensor, offset: int, plus: Tensor) -> Tensor:
    return plus.new_empty(plus.shape)


@attention_weights.register_fake
def _weights_result(
    projected: Tensor, past: Sequence[Tensor], positions: Tensor, mask: Tensor, heads: int
) -> Tensor:
    batch, frames, _ = projected.shape
    return projected.new_empty(batch, heads, frames, len(past) * past[0].shape[1] + frames)


@attention_mix.register_fake
def _mix_result(weights: Tensor, past: Sequence[Tensor], values: Tensor, heads: int) -> Tensor:
    return values.new_empty(values.shape)


@depthwise_swoosh.register_fake
def _depthwise_result(past: Tensor, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@stem.register_fake
@stem_int8.register_fake
def _stem_result(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
    batch, frames, bins = features.shape
    return features.new_empty(batch, *stem_sizes(frames, bins, outputs[-1]))


@gated_sigmoid.register_fake
def _sigmoid_result(projected: Tensor, valid: Tensor) -> Tensor:
    batch, frames, channels = projected.shape
    return projected.new_empty(batch, frames, channels // 2)


@gated_tanh.register_fake
def _tanh_result(projected: Tensor) -> Tensor:
    batch, frames, channels = projected.shape
    return projected.new_empty(batch, frames, channels // 3)


@swoosh_r.register_fake
def _swoosh_result(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _c_declaration(operator: Any) -> str:
    types = {
        "Tensor": "AtenTensorHandle {}",
        "List[Tensor]": "const AtenTensorHandle* {0}, int64_t {0}_len",
        "int": "int64_t {}",
        "List[int]": "const int64_t* {0}, int64_t {0}_len",
    }
    given = ", ".join(
        types[str(argument.type)].format(argument.name) for argument in operator._schema.arguments
    )
    name = operator.name().partition("::")[2]
    return f"AOTITorchError aoti_torch_cpu_{name}({given}, AtenTensorHandle* result)"


C_DECLARATIONS = {
    operator: [_c_declaration(operator)]
    for operator in (
        torch.ops.echostream.packed_linear.default,
        torch.ops.echostream.packed_linear_add.default,
        torch.ops.echostream.packed_linear_int8.default,
        torch.ops.echostream.packed_linear_int8_add.default,
        torch.ops.echostream.attention_weights.default,
        torch.ops.echostream.attention_mix.default,
        torch.ops.echostream.depthwise_swoosh.default,
        torch.ops.echostream.stem.default,
        torch.ops.echostream.stem_int8.default,
        torch.ops.echostream.gated_sigmoid.default,
        torch.ops.echostream.gated_tanh.default,
        torch.ops.echostream.swoosh_r.default,
    )
}
"""How compiled graphs call the kernel."""
