"""Estimates an n-gram model over units from texts.

Interpolated Kneser-Ney smoothing (Chen and Goodman 1999, section 4.1) with one discount for each
length. Lower orders count in how many contexts an n-gram was seen, not how often. n-grams of three
and more units that were seen less often than asked for are then left out, and the backoff weights
are such that the probabilities after each history sum to one all the same.

Symbols: ``V`` units, ``h`` a history, ``w`` a unit, ``n`` the order, ``c`` a count, ``D`` a
discount. An n-gram is a tuple of units; the start of a text is written as ``V``.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from echostream.decoder.ctc.ngram import NgramModel
from echostream.errors import ConfigError

Ngram = tuple[int, ...]


def estimate(
    texts: Iterable[Sequence[int]], *, order: int, vocab_size: int, least_count: int = 1
) -> NgramModel:
    """The model of ``texts``.

    Args:
        texts: each a sequence of units from 0 to ``vocab_size - 1``.
        order: ``n``, from 1 on.
        vocab_size: ``V``.
        least_count: n-grams of three and more units that were seen less often are left out.

    Raises `ConfigError` for an order or a count below 1, a unit outside the vocabulary, or no text.
    """
    if order < 1 or least_count < 1:
        raise ConfigError(
            f"order is {order} and least_count {least_count}; expected whole numbers from 1 on"
        )
    seen = _seen(texts, order, vocab_size)
    if not seen[1]:
        raise ConfigError("there is no text to estimate an n-gram model from; expected some")
    probs: dict[Ngram, float] = {}
    for length in range(1, order + 1):
        _add_length(probs, _counts(seen, length, order, vocab_size), vocab_size)
    kept = {
        ngram: p
        for ngram, p in probs.items()
        if len(ngram) <= 2 or seen[len(ngram)][ngram] >= least_count
    }
    return _model(kept, order, vocab_size)


def _seen(texts: Iterable[Sequence[int]], order: int, vocab_size: int) -> dict[int, Counter[Ngram]]:
    """How often each n-gram occurs, by its length; a start alone is none."""
    seen: dict[int, Counter[Ngram]] = {length: Counter() for length in range(1, order + 1)}
    for text in texts:
        if any(not 0 <= unit < vocab_size for unit in text):
            raise ConfigError(
                f"a text has the units {list(text)}; expected numbers from 0 to {vocab_size - 1}"
            )
        units = (vocab_size, *text)
        for length, counter in seen.items():
            counter.update(zip(*(units[i:] for i in range(length)), strict=False))
    del seen[1][(vocab_size,)]
    return seen


def _counts(
    seen: Mapping[int, Counter[Ngram]], length: int, order: int, vocab_size: int
) -> Mapping[Ngram, int]:
    """What Kneser-Ney counts: occurrences in the longest n-grams and at the start of a text,
    different units before it elsewhere."""
    if length == order:
        return seen[length]
    before = Counter(longer[1:] for longer in seen[length + 1] if len(longer) == length + 1)
    return {
        ngram: count if ngram[0] == vocab_size else before[ngram]
        for ngram, count in seen[length].items()
    }


def _add_length(probs: dict[Ngram, float], counts: Mapping[Ngram, int], vocab_size: int) -> None:
    """Add ``p(w | h)`` of all n-grams of one length; those that are shorter are there already."""
    frequency = Counter(counts.values())
    once, twice = frequency[1], frequency[2]
    discount = once / (once + 2 * twice) if once and twice else 0.5
    total: defaultdict[Ngram, int] = defaultdict(int)
    kinds: Counter[Ngram] = Counter()
    for ngram, count in counts.items():
        total[ngram[:-1]] += count
        kinds[ngram[:-1]] += 1
    if () in total:  # All units have a probability, seen or not.
        left = discount * kinds[()] / total[()] / vocab_size
        for unit in range(vocab_size):
            count = counts.get((unit,), 0)
            probs[(unit,)] = max(count - discount, 0.0) / total[()] + left
        return
    for ngram, count in counts.items():
        history = ngram[:-1]
        left = discount * kinds[history] / total[history] * probs[ngram[1:]]
        probs[ngram] = (count - discount) / total[history] + left


def _model(probs: Mapping[Ngram, float], order: int, vocab_size: int) -> NgramModel:
    """The trie of n-grams with their probabilities."""
    stored: defaultdict[Ngram, float] = defaultdict(float)
    shorter: defaultdict[Ngram, float] = defaultdict(float)
    for ngram, p in probs.items():
        if len(ngram) > 1:
            stored[ngram[:-1]] += p
            shorter[ngram[:-1]] += probs[ngram[1:]]
    nodes: list[Ngram] = sorted([(), (vocab_size,), *probs], key=lambda ngram: (len(ngram), ngram))
    children = Counter(node[:-1] for node in nodes if node)

    def log_backoff(history: Ngram) -> float:
        rest, rest_shorter = 1.0 - stored[history], 1.0 - shorter[history]
        # Where all units are stored nothing is left over, and nothing asks for it.
        return math.log(rest / rest_shorter) if min(rest, rest_shorter) > 1e-9 else 0.0

    return NgramModel(
        order,
        vocab_size,
        {
            "unit": np.array([node[-1] if node else 0 for node in nodes]),
            "children": np.array([children[node] for node in nodes]),
            "log_prob": np.array(
                [math.log(probs[node]) if node in probs else 0.0 for node in nodes]
            ),
            "log_backoff": np.array(
                [log_backoff(node) if node in stored else 0.0 for node in nodes]
            ),
        },
    )
