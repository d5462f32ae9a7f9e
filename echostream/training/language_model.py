"""N-gram models of a checkpoint's transcripts and translations, estimated from texts.

Interpolated Kneser-Ney smoothing (Chen and Goodman 1999, section 4.1) with one discount for each
length. Lower orders count in how many contexts an n-gram was seen, not how often. n-grams of three
and more units that were seen less often than asked for are then left out, and the backoff weights
are such that the probabilities after each history sum to one all the same.

Symbols: ``V`` units, ``h`` a history, ``w`` a unit, ``n`` the order, ``c`` a count, ``D`` a
discount. An n-gram is a tuple of units; the start of a text is written as ``V``.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from echostream.decoder import Tokenizer
from echostream.decoder.ctc.ngram import NgramModel, read_arpa
from echostream.errors import ConfigError
from echostream.model.checkpoint import (
    SOURCE_NGRAM,
    SOURCE_VOCABULARY,
    TARGET_NGRAM,
    TARGET_VOCABULARY,
    load_config_json,
    save_config_json,
)
from echostream.text import normalise, without_marks
from echostream.training.corpus.utterances import read_corpus, select
from echostream.training.recipes.parallel_text import read_texts
from echostream.whole_file import replacing

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


logger = logging.getLogger(__name__)

_FILES = {"source": (SOURCE_VOCABULARY, SOURCE_NGRAM), "target": (TARGET_VOCABULARY, TARGET_NGRAM)}
SIDES = tuple(_FILES)


def make_language_models(
    checkpoint: Path,
    data: Path,
    *,
    corpora: Sequence[str] = (),
    texts: Path | None = None,
    source_is_english: bool = False,
    repeat: int = 1,
    order: int = 6,
    least_count: int = 2,
    sides: Sequence[str] = SIDES,
) -> list[NgramModel]:
    """Estimate the models from the training side of the split and write them to the checkpoint.

    Args:
        checkpoint: folder with the vocabularies; a model whose side is not named stays as it is.
        data: folder of the corpus, of which only the ``corpora`` are read if some are named.
        texts: a table of sentence pairs (``texts.tsv``) to add; only its training side is read.
        source_is_english: which side of those pairs is the source.
        repeat: how often each transcript counts for one sentence of ``texts``.
        order, least_count: as of :func:`echostream.training.language_model.estimate`.

    Raises:
        ConfigError: for an unknown corpus.
        DataError: if a table cannot be read.
        CheckpointError: if a vocabulary cannot.
    """
    utterances = select(read_corpus(data, corpora), "train")
    pairs = [(u.source_text, u.target_text) for u in utterances] * repeat
    for written in () if texts is None else read_texts(texts):
        if written.split == "train":
            english, other = normalise(written.english), normalise(written.other)
            pairs.append((english, other) if source_is_english else (other, english))
    models = []
    for side in sides:
        tokenizer = Tokenizer.from_file(checkpoint / _FILES[side][0])
        unknown = set(tokenizer.suppressed)
        units = []
        for pair in pairs:
            text = pair[SIDES.index(side)]
            # The vocabulary may be of a corpus whose texts have no accents. What it cannot write
            # at all says nothing about what a search will write.
            spellings = map(tokenizer.encode, (text, without_marks(text)))
            units += [spelt for spelt in spellings if not unknown.intersection(spelt)][:1]
        model = estimate(
            units, order=order, vocab_size=tokenizer.vocab_size, least_count=least_count
        )
        _keep(model, checkpoint, side, f"{len(pairs)} texts")
        models.append(model)
    return models


def import_arpa(checkpoint: Path, side: str, path: Path) -> NgramModel:
    """Put an ARPA file over a vocabulary's pieces into a checkpoint as the model of a side.

    Raises:
        CheckpointError: if the vocabulary cannot be read.
        DataError: if the file cannot be used.
    """
    model = read_arpa(path, Tokenizer.from_file(checkpoint / _FILES[side][0]).pieces)
    _keep(model, checkpoint, side, str(path))
    return model


def set_weights(checkpoint: Path, weight: float, bonus: float) -> None:
    """Make a checkpoint's search use its language models unless it is told otherwise."""
    config = load_config_json(checkpoint)
    options = {**config.decoder.options, "lm_weight": weight, "unit_bonus": bonus}
    config = replace(config, decoder=replace(config.decoder, options=options))
    save_config_json(config, checkpoint)


def _keep(model: NgramModel, checkpoint: Path, side: str, origin: str) -> None:
    path = checkpoint / _FILES[side][1]
    with replacing(path) as part:
        model.save(part)
    size = path.stat().st_size / 1e6
    logger.info("%s: %d n-grams of %s, %.1f MB", path, model.num_ngrams, origin, size)
