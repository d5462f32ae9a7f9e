"""Whisper's encoder written down from the paper, frame by frame and without caches.

Symbols: ``T`` encoder frames, ``F`` mel bins, ``C`` channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from echostream.encoder.whisper import WhisperEncoder
from echostream.encoder.whisper.encoder import SILENCE


def dense_whisper(
    encoder: WhisperEncoder,
    features: Tensor,
    chunk_size: int,
    right_context: int,
    first_position: int = 0,
) -> Tensor:
    """``[2 T, F]`` to ``[T, C]``; every frame is computed in its own window alone."""
    config = encoder.config
    stride, overlap = config.window_stride, config.window_overlap
    x = _convolved(encoder, features)
    frames = []
    for frame in range(len(x)):
        window = max(0, (first_position + frame - overlap) // stride)
        start = max(0, window * stride - first_position)
        first = 0 if window else first_position
        end = min(len(x), (frame // chunk_size + 1) * chunk_size + right_context)
        y = _encoded(encoder, x[start:end], chunk_size, right_context, first)
        frames.append(y[frame - start] - encoder.position_mean[first + frame - start])
    return torch.stack(frames) if frames else x.new_zeros(0, config.embed_dim)


def whisper_offline(encoder: WhisperEncoder, features: Tensor) -> Tensor:
    """Whisper as it was released, on features ``[2 T, F]`` that begin after a silent frame."""
    x = _convolved(encoder, features)
    return _encoded(encoder, x, len(x), 0) - encoder.position_mean[: len(x)]


def _convolved(encoder: WhisperEncoder, features: Tensor) -> Tensor:
    """Both convolutions with Whisper's padding; an odd last frame is left out."""
    features = features[: len(features) // 2 * 2]
    if not len(features):
        return features.new_zeros(0, encoder.config.embed_dim)
    silent = features.new_full((1, features.shape[1]), SILENCE)
    mel = torch.cat((silent, features)).T[None]
    first = encoder.conv1.weight, encoder.conv1.bias
    second = encoder.conv2.weight, encoder.conv2.bias
    x = functional.gelu(functional.conv1d(mel, *first, padding=1))
    x = functional.gelu(functional.conv1d(x, *second, padding=1, stride=2))
    # The last frame's window reaches past the end.
    return x[0].T[: len(features) // 2]


def _encoded(
    encoder: WhisperEncoder, x: Tensor, chunk_size: int, right_context: int, first: int = 0
) -> Tensor:
    """One window ``[n, C]`` from position ``first`` on.

    Chunk after chunk: what is behind a chunk is computed with it, and once more with its own.
    """
    layers = len(encoder.layers)
    keys = [x.new_zeros(0, x.shape[1])] * layers
    values = [x.new_zeros(0, x.shape[1])] * layers
    outputs = []
    for begin in range(0, len(x), chunk_size):
        own = slice(begin, begin + chunk_size + right_context)
        y = x[own] + encoder.positions[first : first + len(x)][own]
        for number, layer in enumerate(encoder.layers):
            normed = layer.attention_norm(y)
            key = functional.linear(normed, layer.key.weight)
            value = functional.linear(normed, layer.value.weight, layer.value.bias)
            query = functional.linear(normed, layer.query.weight, layer.query.bias)
            seen, said = torch.cat((keys[number], key)), torch.cat((values[number], value))
            width = x.shape[1] // layer.num_heads
            heads = []
            for head in range(layer.num_heads):
                part = slice(head * width, (head + 1) * width)
                weights = (query[:, part] @ seen[:, part].T / width**0.5).softmax(1)
                heads.append(weights @ said[:, part])
            keys[number], values[number] = seen[: begin + chunk_size], said[: begin + chunk_size]
            y = y + functional.linear(torch.cat(heads, 1), layer.out.weight, layer.out.bias)
            normed = functional.linear(layer.ffn_norm(y), layer.ffn_in.weight, layer.ffn_in.bias)
            normed = functional.gelu(normed)
            y = y + functional.linear(normed, layer.ffn_out.weight, layer.ffn_out.bias)
        outputs.append(encoder.norm(y[:chunk_size]))
    return torch.cat(outputs)
