"""CTC decoding written as plainly as possible, to compare the streaming searches with."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Prefix = tuple[int, ...]


def random_log_probs(seed: int, frames: int, vocabulary: int, sharpness: float = 1.0) -> Tensor:
    """``[frames, vocabulary]`` normalised log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(frames, vocabulary, generator=generator, dtype=torch.float64)
    return (logits * sharpness).log_softmax(dim=-1).float()


def one_hot_log_probs(symbols: Sequence[int], vocabulary: int) -> Tensor:
    """Log-probabilities in which ``symbols`` are nearly certain."""
    probs = torch.full((len(symbols), vocabulary), 0.01 / (vocabulary - 1))
    for frame, symbol in enumerate(symbols):
        probs[frame, symbol] = 0.99
    return probs.log()


def collapse(symbols: Sequence[int], blank: int) -> Prefix:
    """CTC's map from an alignment to its labels."""
    return tuple(symbol for symbol, _ in itertools.groupby(symbols) if symbol != blank)


def labelling_probabilities(log_probs: Tensor, blank: int) -> dict[Prefix, float]:
    """Probability of every labelling, summed over all ``V ** T`` alignments."""
    rows = log_probs.double().exp().numpy()
    totals: dict[Prefix, float] = defaultdict(float)
    for alignment in itertools.product(range(rows.shape[1]), repeat=rows.shape[0]):
        probability = math.prod(rows[t, symbol] for t, symbol in enumerate(alignment))
        totals[collapse(alignment, blank)] += probability
    return dict(totals)


def prefix_beam_search(
    log_probs: Tensor, blank: int, beam_size: int, prune_log_prob: float
) -> list[tuple[Prefix, float]]:
    """Offline prefix beam search over a dictionary of whole prefixes: best first, log-probability.

    Every prefix is tried with every token.
    """
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in log_probs.double().numpy():
        following: dict[Prefix, list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for prefix, (log_blank, log_token) in beam.items():
            log_both = add(log_blank, log_token)
            own = following[prefix]
            own[0] = add(own[0], log_both + row[blank])
            if prefix:
                own[1] = add(own[1], log_token + row[prefix[-1]])
            for token in range(len(row)):
                if token == blank:
                    continue
                start = log_blank if prefix and prefix[-1] == token else log_both
                entry = following[(*prefix, token)]
                entry[1] = add(entry[1], start + row[token])
        ranked = sorted(following.items(), key=lambda item: -add(*item[1]))
        floor = add(*ranked[0][1]) + prune_log_prob
        possible = [item for item in ranked if add(*item[1]) >= floor and add(*item[1]) > -math.inf]
        beam = {prefix: (b, n) for prefix, (b, n) in possible[:beam_size]}
    return [(prefix, add(*logs)) for prefix, logs in beam.items()]


def add(a: float, b: float) -> float:
    """Logarithm of the sum of two probabilities given as logarithms."""
    return float(np.logaddexp(a, b))
