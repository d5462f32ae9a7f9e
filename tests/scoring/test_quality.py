import math

import pytest
from sacrebleu import __version__

from echostream.errors import DataError
from echostream.scoring.quality import QualityOptions, bleu, chrf, error_rate, score_quality


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


def test_chrf_worked_out_by_hand() -> None:
    # Characters without spaces: abc against abd. 1-grams: 2 of 3 both ways; 2-grams: ab of ab, bc
    # and ab, bd; 3-grams: none; sacreBLEU leaves out orders without n-grams (4 to 6).
    # Precision = recall = (2/3 + 1/2 + 0) / 3, and F of two equal numbers is that number.
    assert chrf(["a bc"], ["abd"]).value == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)
    expected = f"chrF|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{__version__}"
    assert chrf(["a"], ["a"]).signature == expected


@pytest.mark.parametrize(
    ("hypotheses", "references", "expected"),
    [
        (["a b c"], ["a b c"], 0),
        (["a x c d"], ["a b c"], 100 * 2 / 3),  # one substitution, one insertion
        (["a"], ["a b c"], 100 * 2 / 3),  # two deletions
        ([""], ["a b"], 100),
        (["A b."], ["a b"], 100),  # case and punctuation count
        (["a  b\tc"], ["a b\u00a0c"], 0),  # white space does not
        (["x y z", "a b"], ["a", "a b"], 100 * 3 / 3),  # over the corpus: 3 errors, 3 words
        (["x y", "a b"], ["", "a b"], 100),  # words against nothing are errors
    ],
)
def test_wer_worked_out_by_hand(
    hypotheses: list[str], references: list[str], expected: float
) -> None:
    assert error_rate("WER", hypotheses, references).value == pytest.approx(expected)


def test_wer_without_reference_words_is_undefined() -> None:
    assert error_rate("WER", ["a", ""], ["", " "]).value is None
    for name, tokens in (("WER", "space"), ("CER", "char")):
        signature = error_rate(name, ["a"], ["a"]).signature
        assert signature.startswith(f"{name}|nrefs:1|case:mixed|tok:{tokens}|version:jiwer-")


def test_normalised_text_is_scored_and_said_so() -> None:
    hypotheses, references = ["ONE, two"], ["one two!"]
    plain = score_quality(hypotheses, references, QualityOptions(("wer", "chrf")))
    both = score_quality(
        hypotheses, references, QualityOptions(("wer", "chrf"), is_normalised=True)
    )
    assert [quality.name for quality in both] == ["WER", "chrF"]
    assert plain[0].value == 100 and both[0].value == 0
    assert both[1].value == pytest.approx(100)
    assert "normalised" not in plain[0].signature
    assert both[0].signature == plain[0].signature + "|text:normalised"
