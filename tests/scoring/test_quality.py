from __future__ import annotations

import math

import pytest
from sacrebleu import __version__

from echostream.errors import DataError
from echostream.scoring.quality import bleu


def test_value_worked_out_by_hand() -> None:
    # 13a tokens: hypothesis a b c d e, reference a b c d e f: precisions 1, brevity exp(1 - 6/5).
    assert bleu(["a b c d e"], ["a b c d e f"]).value == pytest.approx(100 * math.exp(-0.2))


def test_signature_is_sacrebleus() -> None:
    expected = f"BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{__version__}"
    assert bleu(["a"], ["a"]).signature == expected
    assert "|tok:zh|" in bleu(["a"], ["a"], tokenizer="zh").signature


def test_tokenizer_is_used() -> None:
    # One token for 13a, four for zh.
    assert bleu(["今天很好"], ["今天很好吗"], tokenizer="zh").value > 50
    assert bleu(["今天很好"], ["今天很好吗"]).value == 0


def test_empty_hypotheses_cost_brevity() -> None:
    whole = bleu(["a b c d e"], ["a b c d e"]).value
    half = bleu(["a b c d e", ""], ["a b c d e", "a b c d e"]).value
    assert whole == pytest.approx(100)
    assert half == pytest.approx(100 * math.exp(-1))
    assert bleu(["", ""], ["a", "b"]).value == 0


@pytest.mark.parametrize(
    ("hypotheses", "references", "tokenizer"),
    [([], [], "13a"), (["a"], [], "13a"), (["a"], ["a", "b"], "13a"), (["a"], ["a"], "moses")],
)
def test_refusals(hypotheses: list[str], references: list[str], tokenizer: str) -> None:
    with pytest.raises(DataError, match="expected"):
        bleu(hypotheses, references, tokenizer)
