"""The text decoder written down plainly: all tokens from the first, in float64, token by token.

It shares nothing with the package but the names of the weights.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.config_whisper import TextDecoderConfig
from echostream.decoder.text import TransformerDecoder
from echostream.decoder.text.transformer import SILENCE_STRIDE

Array = NDArray[np.float64]

CONFIG = TextDecoderConfig(
    vocab_size=23,
    embed_dim=12,
    num_layers=3,
    num_heads=3,
    ffn_dim=20,
    max_tokens=64,
    max_source=60,
    alignment_heads=((1, 0), (2, 2)),
)


def random_decoder(
    seed: int = 0,
    *,
    positions: bool = True,
    silence: bool = True,
    config: TextDecoderConfig = CONFIG,
) -> TransformerDecoder:
    """Weights that are far from those of the start, so that everything matters."""
    torch.manual_seed(seed)
    decoder = TransformerDecoder(config)
    with torch.no_grad():
        for name, tensor in decoder.state_dict().items():
            if name == "source_positions" and not positions or name == "silence" and not silence:
                continue
            spread = 0.4 if tensor.dim() == 2 else 0.3
            tensor.copy_(spread * torch.randn(tensor.shape) + ("norm.weight" in name))
        decoder.embedding.weight.mul_(3)
    return decoder.eval()


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean()
    scaled = centred / math.sqrt((centred**2).mean() + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    y: Array = x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", np.zeros(1))
    return y


def attend(
    query: Array, keys: Array, values: Array, counts: Array, heads: int
) -> tuple[Array, Array]:
    """Of one token; each key counts ``counts`` times. The result ``[C]`` and weights ``[H, T]``."""
    size = len(query) // heads
    mixed, weights = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = np.exp(keys[:, part] @ query[part] / math.sqrt(size)) * counts
        share = scores / scores.sum()
        mixed.append(share @ values[:, part])
        weights.append(share)
    return np.concatenate(mixed), np.stack(weights)


def decode(
    decoder: TransformerDecoder, tokens: Sequence[int], frames: torch.Tensor, views: Sequence[int]
) -> tuple[Array, Array]:
    """Logits after each token ``[n, V]`` and the alignment heads' attention ``[n, A, T]``.

    Args:
        decoder: whose weights are taken.
        tokens: from the first.
        frames: ``[T, C]``, the first one at the first position.
        views: frames that each token looks at.
    """
    weights = {name: value.double().numpy() for name, value in decoder.state_dict().items()}
    config = decoder.config
    heard = frames.double().numpy() + weights["source_positions"][: len(frames)]
    silence = np.zeros((0, config.embed_dim))
    if weights["silence"].any():
        silence = weights["silence"] + weights["source_positions"][::SILENCE_STRIDE]
    pasts: list[list[Array]] = [[] for _ in range(config.num_layers)]
    logits, attention = [], []
    for place, (token, view) in enumerate(zip(tokens, views, strict=True)):
        rest = silence[[row for row in range(len(silence)) if row * SILENCE_STRIDE >= view]]
        source = np.concatenate((heard[:view], rest))
        counts = np.concatenate((np.ones(view), np.full(len(rest), float(SILENCE_STRIDE))))
        x = weights["embedding.weight"][token] + weights["positions"][place]
        seen: dict[tuple[int, int], Array] = {}
        for layer, past in enumerate(pasts):
            name = f"layers.{layer}."
            y = norm(x, weights, f"{name}self_norm")
            past.append(y)
            keys = linear(np.stack(past), weights, f"{name}self_key")
            values = linear(np.stack(past), weights, f"{name}self_value")
            query = linear(y, weights, f"{name}self_query")
            mixed, _ = attend(query, keys, values, np.ones(len(past)), config.num_heads)
            x = x + linear(mixed, weights, f"{name}self_out")
            query = linear(norm(x, weights, f"{name}cross_norm"), weights, f"{name}cross_query")
            keys = linear(source, weights, f"{name}cross_key")
            values = linear(source, weights, f"{name}cross_value")
            mixed, shares = attend(query, keys, values, counts, config.num_heads)
            seen |= {(layer, head): share for head, share in enumerate(shares)}
            x = x + linear(mixed, weights, f"{name}cross_out")
            y = linear(norm(x, weights, f"{name}ffn_norm"), weights, f"{name}ffn_in")
            y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
            x = x + linear(y, weights, f"{name}ffn_out")
        logits.append(norm(x, weights, "norm") @ weights["embedding.weight"].T)
        rows = np.zeros((len(config.alignment_heads), len(frames)))
        for row, pair in enumerate(config.alignment_heads):
            rows[row, :view] = seen[pair][:view]
        attention.append(rows)
    return np.stack(logits), np.stack(attention)
