"""Which feature frames can reach which encoder frame, by following the frames and not the numbers.

A boolean matrix ``[T, 2 T]`` says for every frame of a signal inside the encoder which feature
frames it may depend on. Each operation of the encoder is then a boolean matrix over frames. Worked
out for recordings of a whole number of encoder frames.
"""

import torch
from torch import Tensor

from echostream.config import EncoderConfig

from .dense_zipformer import RATES, Allowed, allowed_at


def spread(rule: Allowed, total: int, reach: int | None = None) -> Tensor:
    """``[T, T]`` what one operation lets frame ``i`` see, at most ``reach`` frames away."""
    return torch.tensor(
        [
            [rule(i, j) and (reach is None or abs(i - j) <= reach) for j in range(total)]
            for i in range(total)
        ],
        dtype=torch.float32,
    ).reshape(total, total)


def through(operation: Tensor, signal: Tensor) -> Tensor:
    return ((operation @ signal) > 0).float()


def dependencies(
    config: EncoderConfig, frames: int, chunk: int | None, left: int | None, future: int | None
) -> Tensor:
    """``[T, 2 T]`` bool: whether encoder frame ``t`` may depend on feature frame ``f``."""
    signal = torch.zeros(frames, 2 * frames)
    for t in range(frames):
        signal[t, max(0, 2 * t - 7) : 2 * t + 2] = 1.0
    outputs = []
    for index, rate in enumerate(RATES):
        attention, ahead = allowed_at(rate, chunk, left, future)
        slow = -(-frames // rate)
        pool = torch.tensor([[float(t // rate == g) for t in range(frames)] for g in range(slow)])
        see = spread(attention, slow)
        convolve = spread(ahead, slow, config.conv_kernels[index] // 2)
        x = through(pool, signal)
        for _ in range(config.layers[index]):
            # Weights and non-linear attention, values, convolution; values, convolution.
            for operation in (see, see, convolve, see, convolve):
                x = through(operation, x)
        signal = ((through(pool.T, x) + signal) > 0).float()
        outputs.append(signal)
    # The last stack lacks channels, which come from the two before it.
    y = ((outputs[3] + outputs[4] + outputs[5]) > 0).float()
    if config.memory_size:
        length = config.memory_segment
        bank = torch.eye(frames)
        for t in range(frames):
            own = t // length
            bank[t, max(0, own - config.memory_size) * length : own * length] = 1.0
        y = through(bank, y)
    return y > 0
