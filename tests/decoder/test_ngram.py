"""The n-gram model against a direct evaluation of its equations, and ARPA files."""

import gzip
import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder import NgramModel
from echostream.decoder.ctc.ngram import read_arpa
from echostream.errors import CheckpointError, ConfigError, DataError
from echostream.training.language_model import estimate

UNITS = 5
TEXTS = st.lists(st.lists(st.integers(0, UNITS - 1), max_size=9), min_size=1, max_size=25).filter(
    any
)


def kneser_ney(texts: list[list[int]], order: int, history: tuple[int, ...], unit: int) -> float:
    """Equation by equation, from lists of occurrences."""
    length = len(history) + 1
    rows = [(UNITS, *text) for text in texts]

    def occurrences(n: int) -> Counter[tuple[int, ...]]:
        all_of = [tuple(row[i : i + n]) for row in rows for i in range(len(row) - n + 1)]
        return Counter(each for each in all_of if each != (UNITS,))

    def count(ngram: tuple[int, ...]) -> int:
        if len(ngram) == order or ngram[0] == UNITS:
            return occurrences(len(ngram))[ngram]
        return len({longer[0] for longer in occurrences(len(ngram) + 1) if longer[1:] == ngram})

    counts = {ngram: count(ngram) for ngram in occurrences(length)}
    sizes = Counter(counts.values())
    once, twice = sizes[1], sizes[2]
    discount = once / (once + 2 * twice) if once and twice else 0.5
    after = {ngram[-1]: c for ngram, c in counts.items() if ngram[:-1] == history}
    shorter = kneser_ney(texts, order, history[1:], unit) if history else 1 / UNITS
    if not after:
        return shorter
    total = sum(after.values())
    own = max(after.get(unit, 0) - discount, 0) / total
    return own + discount * len(after) / total * shorter


@settings(deadline=None, max_examples=40)
@given(texts=TEXTS, order=st.integers(1, 4), data=st.data())
def test_probabilities_are_those_of_the_equations(
    texts: list[list[int]], order: int, data: st.DataObject
) -> None:
    model = estimate(texts, order=order, vocab_size=UNITS)
    history = tuple(data.draw(st.lists(st.integers(0, UNITS - 1), max_size=order - 1)))
    if len(history) < order - 1 and data.draw(st.booleans()):
        history = (UNITS, *history)
    wanted = [math.log(kneser_ney(texts, order, history, unit)) for unit in range(UNITS)]
    # Stored as float16.
    np.testing.assert_allclose(model.log_probs(history), wanted, atol=0.02)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, order=st.integers(1, 5), least=st.integers(1, 4), data=st.data())
def test_they_sum_to_one_after_any_history(
    texts: list[list[int]], order: int, least: int, data: st.DataObject
) -> None:
    model = estimate(texts, order=order, vocab_size=UNITS, least_count=least)
    history = tuple(data.draw(st.lists(st.integers(0, UNITS), max_size=6)))
    assert np.exp(model.log_probs(history)).sum() == pytest.approx(1, abs=0.01)


def test_what_was_seen_rarely_is_left_out() -> None:
    texts = [[0, 1, 2]] * 3 + [[2, 1, 0]]
    sizes = [estimate(texts, order=3, vocab_size=3, least_count=n).num_ngrams for n in (1, 2, 3, 4)]
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3]
    # Backoff ends at pairs, which are all kept.
    assert sizes[3] == estimate(texts, order=2, vocab_size=3).num_ngrams


def test_only_the_last_units_of_a_history_count() -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=3, vocab_size=3)
    assert model.shorten((2, 2, 0, 1)) == (0, 1)
    assert model.log_probs((2, 2, 0, 1)) is model.log_probs((0, 1))
    assert estimate([[0]], order=1, vocab_size=2).shorten((0, 1)) == ()


def test_what_is_kept_in_memory_is_bounded() -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=12, vocab_size=3)
    info = model._row.cache_info
    assert info().maxsize * model.vocab_size * 8 <= 2**20
    large = estimate([[5]], order=2, vocab_size=60_000)
    assert large._row.cache_info().maxsize == 2


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=3, vocab_size=3)
    model.save(tmp_path / "a.ngram")
    model.save(tmp_path / "b.ngram")
    assert (tmp_path / "a.ngram").read_bytes() == (tmp_path / "b.ngram").read_bytes()
    again = NgramModel.from_file(tmp_path / "a.ngram")
    assert (again.order, again.vocab_size, again.num_ngrams) == (3, 3, model.num_ngrams)
    for history in ((), (3,), (3, 0), (1, 1), (2, 2)):
        assert (again.log_probs(history) == model.log_probs(history)).all()


def test_another_process_gets_the_same_model() -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=3, vocab_size=3)
    expected = {history: model.log_probs(history).copy() for history in ((), (3, 0), (1, 1))}
    again = pickle.loads(pickle.dumps(model))
    assert again._row.cache_info().currsize == 0
    for history, row in expected.items():
        assert (again.log_probs(history) == row).all()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the n-gram model"):
        NgramModel.from_file(tmp_path / "missing.ngram")
    (tmp_path / "bad.ngram").write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match="language-model"):
        NgramModel.from_file(tmp_path / "bad.ngram")


@pytest.mark.parametrize("name", ["unit", "children", "log_prob", "log_backoff"])
def test_damaged_arrays_are_refused(name: str) -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=3, vocab_size=3)
    arrays = {key: array.copy() for key, array in model.arrays.items()}
    arrays[name][:] = 9 if name in ("unit", "children") else np.nan
    with pytest.raises(CheckpointError, match="damaged"):
        NgramModel(3, 3, arrays)
    with pytest.raises(CheckpointError, match="expected"):
        NgramModel(3, 3, {**model.arrays, name: model.arrays[name][:-1]})


@pytest.mark.parametrize("name", ["unit", "children"])
def test_numbers_below_zero_are_refused_whatever_type_they_come_in(name: str) -> None:
    model = estimate([[0, 1, 2, 0, 1], [1, 1, 0]], order=3, vocab_size=3)
    numbers = model.arrays[name].astype(np.int64)
    numbers[-1] -= 256  # What a cast to a byte would undo.
    with pytest.raises(CheckpointError, match="damaged"):
        NgramModel(3, 3, {**model.arrays, name: numbers})


def test_an_older_file_is_named_with_advice(tmp_path: Path) -> None:
    model = estimate([[0, 1]], order=2, vocab_size=3)
    model.arrays["first_child"] = model.arrays.pop("children")
    model.save(tmp_path / "old.ngram")
    advice = r"old\.ngram: .*make it again with `echostream language-model`"
    with pytest.raises(CheckpointError, match=advice):
        NgramModel.from_file(tmp_path / "old.ngram")


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        ([], {}),
        ([[]], {}),
        ([[7]], {}),
        ([[-1]], {}),
        ([[1]], {"order": 0}),
        ([[1]], {"least_count": 0}),
    ],
)
def test_nonsense_is_refused(texts: list[list[int]], options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        estimate(texts, **{"order": 2, "vocab_size": 3, **options})  # type: ignore[arg-type]


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
