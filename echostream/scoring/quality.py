"""Quality of a corpus. The metrics are sacreBLEU's and jiwer's own; nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import jiwer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from echostream.errors import DataError
from echostream.text import normalise

DEFAULT_TOKENIZER = BLEU.TOKENIZER_DEFAULT
"""``13a``, as in SimulEval."""

DEFAULT_QUALITY = ("bleu", "chrf")


@dataclass(frozen=True)
class Quality:
    """A quality score and how it was computed."""

    value: float | None
    """None where it is not defined: WER of references without words."""
    signature: str
    """The metric's name and its settings, for instance ``BLEU|nrefs:1|case:mixed|...``."""
    name: str = "BLEU"


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = DEFAULT_TOKENIZER
) -> Quality:
    """Corpus BLEU with one reference each (Papineni et al. 2002; signature: Post 2018, 1804.08771).

    An empty hypothesis counts as one: it costs brevity. tokenizer: one of sacreBLEU's (``zh`` and
    ``ja-mecab`` for languages without spaces). Returns 0 to 100.

    Raises DataError for no sentences, for other numbers of hypotheses and references, and for an
    unknown tokenizer. (SimulEval catches whatever goes wrong here and prints 0.)
    """
    _require_pairs("BLEU", hypotheses, references)
    if tokenizer not in BLEU.TOKENIZERS:
        raise DataError(
            f"BLEU tokenizer is {tokenizer!r}; expected one of {', '.join(BLEU.TOKENIZERS)}"
        )
    metric = BLEU(tokenize=tokenizer)
    value = metric.corpus_score(hypotheses, [references]).score
    return Quality(value, f"BLEU|{metric.get_signature()}", "BLEU")


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Quality:
    """Corpus chrF2 (Popovic 2015; 2016 for beta = 2), character 6-grams, no words. 0 to 100.

    Raises DataError for no sentences and for other numbers of hypotheses and references.
    """
    _require_pairs("chrF", hypotheses, references)
    metric = CHRF()
    value = metric.corpus_score(hypotheses, [references]).score
    return Quality(value, f"chrF|{metric.get_signature()}", "chrF")


def wer(hypotheses: Sequence[str], references: Sequence[str]) -> Quality:
    """Word error rate: 100 * (substitutions + deletions + insertions) / words of the references.

    Words are what stands between white space, case and punctuation count. Below 100 is not
    guaranteed: insertions have no limit. None if no reference has a word; a reference without words
    adds the words of its hypothesis to the errors.

    Raises DataError for no sentences and for other numbers of hypotheses and references.
    """
    _require_pairs("WER", hypotheses, references)
    errors = words = 0
    for hypothesis, reference in zip(map(_single_spaced, hypotheses), references, strict=True):
        reference = _single_spaced(reference)
        words += len(reference.split())
        if reference:
            edits = jiwer.process_words(reference, hypothesis)
            errors += edits.substitutions + edits.deletions + edits.insertions
        else:
            errors += len(hypothesis.split())
    signature = f"WER|nrefs:1|case:mixed|tok:space|version:jiwer-{version('jiwer')}"
    return Quality(100 * errors / words if words else None, signature, "WER")


_METRICS: dict[str, Callable[[Sequence[str], Sequence[str], str], Quality]] = {
    "bleu": bleu,
    "chrf": lambda hypotheses, references, _: chrf(hypotheses, references),
    "wer": lambda hypotheses, references, _: wer(hypotheses, references),
}

QUALITY_NAMES = tuple(_METRICS)


def score_quality(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenizer: str = DEFAULT_TOKENIZER,
    is_normalised: bool = False,
) -> list[Quality]:
    """The named metrics, in order.

    is_normalised: score :func:`echostream.text.normalise` of both sides; the signatures say
    so (``text:normalised``). Without it texts are scored as they are, and case counts.

    Raises DataError for an unknown name and for what the metrics refuse.
    """
    unknown = [name for name in names if name not in _METRICS]
    if unknown:
        raise DataError(f"quality metric is {unknown[0]!r}; expected one of {', '.join(_METRICS)}")
    if is_normalised:
        hypotheses = [normalise(text) for text in hypotheses]
        references = [normalise(text) for text in references]
    scores = [_METRICS[name](hypotheses, references, tokenizer) for name in names]
    if is_normalised:
        scores = [
            Quality(score.value, f"{score.signature}|text:normalised", score.name)
            for score in scores
        ]
    return scores


def _single_spaced(text: str) -> str:
    return " ".join(text.split())


def _require_pairs(metric: str, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references) or not hypotheses:
        raise DataError(
            f"{metric} of {len(hypotheses)} hypotheses and {len(references)} references; expected "
            "the same number of both, at least one"
        )
