"""ARPA files against the recursion that defines them."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from echostream.decoder.ctc.arpa import read_arpa
from echostream.errors import DataError

PIECES = ["<unk>", "\u2581the", "\u2581cat", "s", "\u2581never"]

ARPA = """\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-2.5\t<unk>
0\t<s>\t-0.7
-1.1\t</s>
-0.8\t\u2581the\t-0.4
-1.0\t\u2581cat\t-0.3
-1.5\ts

\\2-grams:
-0.2\t<s> \u2581the\t-0.1
-0.3\t\u2581the \u2581cat\t-0.2
-0.6\t\u2581cat s
-0.5\t\u2581cat </s>

\\3-grams:
-0.1\t<s> \u2581the \u2581cat
-0.4\t\u2581the \u2581cat s

\\end\\
"""


def by_hand(history: tuple[str, ...], word: str) -> float:
    """Base-10 logarithm by the file: the longest n-gram, or backoff and a shorter history."""
    entries = {}
    for line in ARPA.splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            entries[tuple(fields[1].split())] = (float(fields[0]), float((fields + ["0"])[2]))
    if (*history, word) in entries:
        return entries[(*history, word)][0]
    if not history:
        return entries[("<unk>",)][0]
    return entries.get(history, (0.0, 0.0))[1] + by_hand(history[1:], word)


@pytest.mark.parametrize("packed", [False, True])
def test_probabilities_are_those_of_the_file(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("lm.arpa.gz" if packed else "lm.arpa")
    path.write_bytes(gzip.compress(ARPA.encode()) if packed else ARPA.encode())
    model = read_arpa(path, PIECES)
    assert (model.order, model.vocab_size) == (3, len(PIECES))
    names = [*PIECES, "<s>"]
    histories = [(), (5,), (1,), (2,), (5, 1), (1, 2), (2, 3), (4, 4)]
    for history in histories:
        found = model.log_probs(history)
        expected = [
            by_hand(tuple(names[unit] for unit in history), piece) * math.log(10)
            for piece in PIECES
        ]
        assert np.allclose(found, expected, atol=2e-3), history


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("\\end\\", "", "no .end"),
        ("-0.8\t\u2581the", "-0.8\tthe", "no pieces of the vocabulary, such as 'the'"),
        ("-0.3\t\u2581the", "much\t\u2581the", "line 16: is no 2-gram"),
        ("-0.3\t\u2581the \u2581cat\t-0.2\n", "", "histories of all n-grams"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in ARPA
    (tmp_path / "lm.arpa").write_text(ARPA.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_arpa(tmp_path / "lm.arpa", PIECES)
    with pytest.raises(DataError, match="cannot read"):
        read_arpa(tmp_path / "nothing", PIECES)
