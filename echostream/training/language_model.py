"""N-gram models of a checkpoint's transcripts and translations."""

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
        order, least_count: as of :func:`echostream.training.ngram_estimation.estimate`.

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
