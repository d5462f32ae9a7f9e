"""N-gram models of a checkpoint's transcripts and translations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from echostream.decoder import NgramModel, Tokenizer
from echostream.decoder.ctc.arpa import read_arpa
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
from echostream.training.ngram_estimation import estimate
from echostream.training.recipes.parallel_text import read_texts
from echostream.whole_file import replacing

logger = logging.getLogger(__name__)

_FILES = {
    "source": (SOURCE_VOCABULARY, SOURCE_NGRAM),
    "target": (TARGET_VOCABULARY, TARGET_NGRAM),
}
SIDES = tuple(_FILES)

Pair = tuple[str, str]
"""Source and target text, normalised."""


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
        checkpoint: folder with the vocabularies.
        data: folder of the corpus; its training part counts ``repeat`` times.
        corpora: only of these corpora of the folder; of all if none is named.
        texts: a table of sentence pairs (``texts.tsv``) to add; only its training side is read.
        source_is_english: which side of those pairs is the source.
        repeat: how often each transcript counts for one sentence of ``texts``.
        order: of both models.
        least_count: as of :func:`echostream.training.ngram_estimation.estimate`.
        sides: of these texts only; the other model of the checkpoint stays as it is.

    Returns:
        The models, in the order of ``sides``.

    Raises:
        ConfigError: for an unknown corpus.
        DataError: if a table cannot be read.
        CheckpointError: if a vocabulary cannot.
    """
    utterances = select(read_corpus(data, corpora), "train")
    spoken = [(u.source_text, u.target_text) for u in utterances]
    pairs: list[Pair] = spoken * repeat
    if texts is not None:
        pairs += _written(texts, source_is_english)
    models = []
    for side in sides:
        vocabulary, file = _FILES[side]
        own = [pair[SIDES.index(side)] for pair in pairs]
        model = _estimate(checkpoint / vocabulary, own, order, least_count)
        with replacing(checkpoint / file) as part:
            model.save(part)
        logger.info(
            "%s: %d n-grams of %d texts, %.1f MB",
            checkpoint / file,
            model.num_ngrams,
            len(pairs),
            (checkpoint / file).stat().st_size / 1e6,
        )
        models.append(model)
    return models


def import_arpa(checkpoint: Path, side: str, path: Path) -> NgramModel:
    """Put an ARPA file over a vocabulary's pieces into a checkpoint as the model of a side.

    Raises:
        CheckpointError: if the vocabulary cannot be read.
        DataError: if the file cannot be used.
    """
    vocabulary, file = _FILES[side]
    model = read_arpa(path, Tokenizer.from_file(checkpoint / vocabulary).pieces)
    with replacing(checkpoint / file) as part:
        model.save(part)
    logger.info("%s: %d n-grams of %s", checkpoint / file, model.num_ngrams, path)
    return model


def set_weights(checkpoint: Path, weight: float, bonus: float) -> None:
    """Make a checkpoint's search use its language models unless it is told otherwise."""
    config = load_config_json(checkpoint)
    options = {**config.decoder.options, "lm_weight": weight, "unit_bonus": bonus}
    config = replace(config, decoder=replace(config.decoder, options=options))
    save_config_json(config, checkpoint)


def _written(path: Path, source_is_english: bool) -> list[Pair]:
    english_first = [
        (normalise(pair.english), normalise(pair.other))
        for pair in read_texts(path)
        if pair.split == "train"
    ]
    return english_first if source_is_english else [(other, en) for en, other in english_first]


def _estimate(path: Path, texts: Sequence[str], order: int, least_count: int) -> NgramModel:
    tokenizer = Tokenizer.from_file(path)
    unknown = set(tokenizer.suppressed)
    units = []
    for text in texts:
        # The vocabulary may be of a corpus whose texts have no accents. What it cannot write at
        # all says nothing about what a search will write.
        for spelling in (text, without_marks(text)):
            encoded = tokenizer.encode(spelling)
            if not unknown.intersection(encoded):
                units.append(encoded)
                break
    return estimate(units, order=order, vocab_size=tokenizer.vocab_size, least_count=least_count)
