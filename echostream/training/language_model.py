"""``echostream language-model``: n-gram models of a checkpoint's transcripts and translations."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from echostream.decoder import NgramModel, Tokenizer
from echostream.errors import EchoStreamError
from echostream.model.checkpoint import (
    SOURCE_NGRAM,
    SOURCE_VOCABULARY,
    TARGET_NGRAM,
    TARGET_VOCABULARY,
    load_config_json,
    save_config_json,
)
from echostream.text import normalise, without_marks
from echostream.training.corpus import parse_corpora, read_corpus, select
from echostream.training.ngram import estimate
from echostream.training.recipes.manifest import replacing
from echostream.training.recipes.parallel_text import read_texts

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
        least_count: as of :func:`echostream.training.ngram.estimate`.
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


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream language-model``."""
    parser = argparse.ArgumentParser(
        prog="echostream language-model",
        description="Estimate n-gram models of transcripts and translations and put them into a "
        "checkpoint folder, where the decoder option lm_weight uses them.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/tiny")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="corpus whose training part is read (%(default)s)",
    )
    parser.add_argument(
        "--corpora",
        default="",
        metavar="CORPUS,...",
        help="read these corpora only, as those that the checkpoint was trained on (all)",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        help="texts.tsv of `echostream data --synthetic`, whose training side is added",
    )
    parser.add_argument(
        "--source-is-english", action="store_true", help="the speech is in English, not the text"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=1,
        help="how often a transcript counts for one sentence of --texts (%(default)s)",
    )
    parser.add_argument(
        "--only",
        choices=SIDES,
        help="make this model only, as where --texts are of use to one of them (both)",
    )
    parser.add_argument("--order", type=int, default=6, help="longest n-gram (%(default)s)")
    parser.add_argument(
        "--least-count",
        type=int,
        default=2,
        help="n-grams of three and more units seen less often are left out (%(default)s)",
    )
    parser.add_argument(
        "--weight",
        type=float,
        help="lm_weight of the checkpoint's search from now on (unchanged)",
    )
    parser.add_argument("--bonus", type=float, default=0.0, help="unit_bonus with it (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 after a one-line error."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        make_language_models(
            args.checkpoint,
            args.data,
            corpora=parse_corpora(args.corpora),
            texts=args.texts,
            source_is_english=args.source_is_english,
            repeat=args.repeat,
            order=args.order,
            least_count=args.least_count,
            sides=SIDES if args.only is None else (args.only,),
        )
        if args.weight is not None:
            set_weights(args.checkpoint, args.weight, args.bonus)
    except EchoStreamError as error:
        logger.error("error: %s", error)
        return 1
    return 0
