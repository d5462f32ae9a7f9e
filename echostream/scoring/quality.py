"""Translation quality of a corpus. The metric is sacreBLEU's own; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

from echostream.errors import DataError

DEFAULT_TOKENIZER = BLEU.TOKENIZER_DEFAULT
"""``13a``, as in SimulEval."""


@dataclass(frozen=True)
class Quality:
    """A quality score and how it was computed."""

    value: float
    signature: str
    """The metric's name and sacreBLEU's signature, for instance ``BLEU|nrefs:1|case:mixed|...``."""


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], tokenizer: str = DEFAULT_TOKENIZER
) -> Quality:
    """Corpus BLEU with one reference each (Papineni et al. 2002; signature: Post 2018, 1804.08771).

    An empty hypothesis counts as one: it costs brevity. tokenizer: one of sacreBLEU's (``zh`` and
    ``ja-mecab`` for languages without spaces). Returns 0 to 100.

    Raises DataError for no sentences, for other numbers of hypotheses and references, and for an
    unknown tokenizer. (SimulEval catches whatever goes wrong here and prints 0.)
    """
    if len(hypotheses) != len(references) or not hypotheses:
        raise DataError(
            f"BLEU of {len(hypotheses)} hypotheses and {len(references)} references; expected the "
            "same number of both, at least one"
        )
    if tokenizer not in BLEU.TOKENIZERS:
        raise DataError(
            f"BLEU tokenizer is {tokenizer!r}; expected one of {', '.join(BLEU.TOKENIZERS)}"
        )
    metric = BLEU(tokenize=tokenizer)
    value = metric.corpus_score(hypotheses, [references]).score
    return Quality(value, f"BLEU|{metric.get_signature()}")
