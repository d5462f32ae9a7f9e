"""Errors are counted where they are."""

from echostream.scoring.sentences import Sentence
from eval.seams import by_distance, errors_by_word, word_times


def test_a_word_is_said_where_it_stands_in_its_sentence() -> None:
    sentences = [Sentence("a", 1000.0, 1000.0, "Ah, sí"), Sentence("a", 5000.0, 500.0, "b")]
    assert word_times(sentences) == [("ah", 1.2), ("si", 1.8), ("b", 5.25)]


def test_each_error_belongs_to_a_word() -> None:
    reference = "the cat sat on a mat"
    for said, errors in (
        (reference, [0, 0, 0, 0, 0, 0]),
        ("the dog sat sat on mat", [0, 1, 1, 0, 1, 0]),
        ("oh the cat sat on a mat", [1, 0, 0, 0, 0, 0]),
        ("", [1, 1, 1, 1, 1, 1]),
    ):
        assert errors_by_word(reference.split(), said.split()) == errors


def test_words_are_sorted_by_the_nearest_seam() -> None:
    # Seams at 25.6, 44.8, 64.0 s.
    times = [1.0, 25.5, 25.7, 44.0, 47.7, 47.9, 64.0]
    found = by_distance(times, [1, 0, 2, 1, 1, 0, 3], 25.6, 19.2)
    assert found == {
        **{"-3 to -2 s": (0, 0), "-2 to -1 s": (0, 0), "-1 to +0 s": (2, 1)},
        **{"+0 to +1 s": (2, 5), "+1 to +2 s": (0, 0), "+2 to +3 s": (1, 1)},
        "elsewhere": (2, 1),
    }
