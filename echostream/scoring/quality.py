"""Quality of a corpus. The metrics are sacreBLEU's and jiwer's own; nothing is computed here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import jiwer
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from echostream.errors import DataError
from echostream.text import normalise, without_marks

DEFAULT_TOKENIZER = BLEU.TOKENIZER_DEFAULT
"""``13a``, as in SimulEval."""

DEFAULT_QUALITY = ("bleu", "chrf")

_NEEDS = {
    "ja-mecab": "pip install 'sacrebleu[ja]'",
    "ko-mecab": "pip install 'sacrebleu[ko]'",
}
"""What sacreBLEU's tokenizers need beside it; the others that need something download a model."""


@dataclass(frozen=True)
class QualityOptions:
    """Which quality figures, and of which text."""

    names: tuple[str, ...] | None = None
    """Of :data:`QUALITY_NAMES`; None for BLEU and chrF, and WER and CER if the tool that wrote the
    log was asked for WER."""
    tokenizer: str = DEFAULT_TOKENIZER
    """Of BLEU."""
    is_normalised: bool = False
    """Without case and punctuation."""
    ignores_accents: bool = False
    """Without accents, tildes and other marks of Latin letters: not all references have them."""
    is_unspaced: bool = False
    """Without white space, for predictions that have lost theirs: BLEU of characters, no WER."""


@dataclass(frozen=True)
class Quality:
    """A quality score and how it was computed."""

    name: str
    value: float | None
    """None where it is not defined: an error rate of references without words."""
    signature: str
    """The metric's name and its settings, for instance ``BLEU|nrefs:1|case:mixed|...``."""


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = DEFAULT_TOKENIZER
) -> Quality:
    """Corpus BLEU with one reference each (Papineni et al. 2002; signature: Post 2018, 1804.08771).

    An empty hypothesis counts as one: it costs brevity. tokenizer: one of sacreBLEU's (``zh`` and
    ``ja-mecab`` for languages without spaces). Returns 0 to 100.

    Raises DataError as :func:`bleu_metric`, for no sentences, and for other numbers of hypotheses
    and references. (SimulEval catches whatever goes wrong here and prints 0.)
    """
    return _of_corpus("BLEU", bleu_metric(tokenizer), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Quality:
    """Corpus chrF2 (Popovic 2015; 2016 for beta = 2), character 6-grams, no words. 0 to 100.

    Raises DataError for no sentences and for other numbers of hypotheses and references.
    """
    return _of_corpus("chrF", CHRF(), hypotheses, references)


def _of_corpus(
    name: str, metric: Metric, hypotheses: Sequence[str], references: Sequence[str]
) -> Quality:
    require_pairs(name, hypotheses, references)
    value = metric.corpus_score(hypotheses, [references]).score
    return Quality(name, value, f"{name}|{metric.get_signature()}")


def bleu_metric(tokenizer: str) -> BLEU:
    """sacreBLEU's BLEU. Raises DataError for a tokenizer that is unknown or cannot be loaded."""
    if tokenizer not in BLEU.TOKENIZERS:
        raise DataError(
            f"BLEU tokenizer is {tokenizer!r}; expected one of {', '.join(BLEU.TOKENIZERS)}"
        )
    try:
        return BLEU(tokenize=tokenizer)
    # Missing packages, dictionaries and downloads end in whatever error; sacreBLEU also exits.
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        needed = _NEEDS.get(tokenizer, "a connection for the model that sacreBLEU downloads, once")
        raise DataError(
            f"BLEU tokenizer {tokenizer!r} cannot be loaded ({lines[0].strip()}); it needs "
            f"{needed}; or choose another --tokenizer, or --quality without bleu"
        ) from error


def edits(name: str, hypothesis: str, reference: str) -> tuple[int, int]:
    """Errors (substitutions, deletions, insertions) and length of the reference, of one sentence.

    name: ``WER`` for words, ``CER`` for characters; a space between words is a character. White
    space of any kind and number counts as one space. A reference without words adds what its
    hypothesis has to the errors.
    """
    hypothesis, reference = single_spaced(hypothesis), single_spaced(reference)
    is_words = name == "WER"
    if not reference:
        return len(hypothesis.split()) if is_words else len(hypothesis), 0
    process = jiwer.process_words if is_words else jiwer.process_characters
    found = process(reference, hypothesis)
    errors = found.substitutions + found.deletions + found.insertions
    return errors, found.substitutions + found.deletions + found.hits


def error_rate(name: str, hypotheses: Sequence[str], references: Sequence[str]) -> Quality:
    """Word or character error rate: 100 * errors / words (characters) of the references.

    name: ``WER`` or ``CER``, see :func:`edits`. Case and punctuation count. Below 100 is not
    guaranteed: insertions have no limit. None if no reference has a word.

    Raises DataError for no sentences and for other numbers of hypotheses and references.
    """
    require_pairs(name, hypotheses, references)
    pairs = zip(hypotheses, references, strict=True)
    counts = [edits(name, hypothesis, reference) for hypothesis, reference in pairs]
    errors, length = (sum(column) for column in zip(*counts, strict=True))
    tokens = "space" if name == "WER" else "char"
    signature = f"{name}|nrefs:1|case:mixed|tok:{tokens}|version:jiwer-{version('jiwer')}"
    return Quality(name, 100 * errors / length if length else None, signature)


_METRICS: dict[str, Callable[[Sequence[str], Sequence[str], str], Quality]] = {
    "bleu": bleu,
    "chrf": lambda hypotheses, references, _: chrf(hypotheses, references),
    "wer": lambda hypotheses, references, _: error_rate("WER", hypotheses, references),
    "cer": lambda hypotheses, references, _: error_rate("CER", hypotheses, references),
}

QUALITY_NAMES = tuple(_METRICS)


def score_quality(
    hypotheses: Sequence[str], references: Sequence[str], options: QualityOptions
) -> list[Quality]:
    """The metrics that the options name, in order. What was done to the text is in the signatures.

    Raises DataError for what the metrics refuse.
    """
    names = DEFAULT_QUALITY if options.names is None else options.names
    hypotheses, references = prepared(hypotheses, options), prepared(references, options)
    ending = "|text:normalised" * options.is_normalised
    ending += "|text:unaccented" * options.ignores_accents + "|text:unspaced" * options.is_unspaced
    found = []
    for name in names:
        score = _METRICS[name](hypotheses, references, tokenizer_of(options))
        value = None if options.is_unspaced and name == "wer" else score.value
        found.append(Quality(score.name, value, score.signature + ending))
    return found


def prepared(texts: Sequence[str], options: QualityOptions) -> list[str]:
    """The texts as the options have them scored, words separated by single spaces."""
    if options.is_normalised:
        texts = [normalise(text) for text in texts]
    if options.ignores_accents:
        texts = [without_marks(text) for text in texts]
    return ["".join(t.split()) if options.is_unspaced else single_spaced(t) for t in texts]


def tokenizer_of(options: QualityOptions) -> str:
    """BLEU's: of text without spaces characters, unless another one is stated."""
    if options.is_unspaced and options.tokenizer == DEFAULT_TOKENIZER:
        return "char"
    return options.tokenizer


def single_spaced(text: str) -> str:
    """The text with one space for white space of any kind, and none at its ends."""
    return " ".join(text.split())


def require_pairs(metric: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """DataError unless there are as many hypotheses as references, at least one."""
    if len(hypotheses) != len(references) or not hypotheses:
        raise DataError(
            f"{metric} of {len(hypotheses)} hypotheses and {len(references)} references; expected "
            "the same number of both, at least one"
        )
