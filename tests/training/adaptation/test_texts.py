"""What a decoder is asked to say of a window."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.adaptation.texts import Dictator, Texts, grouped, read_texts
from echostream.training.adaptation.windows import Spoken, Window
from echostream.training.corpus.manifest import MANIFEST, write_manifest
from tests.decoder.text.small_vocabulary import tokenizer
from tests.training.conftest import ROW

FIRST, SECOND, OTHER = Path("first"), Path("second"), Path("other")
TEXTS = {
    FIRST: Texts("es", "a b", "c d."),
    SECOND: Texts("es", "e", "f"),
    OTHER: Texts("es", "g", ""),
}


def window(*spoken: tuple[Path, float, float, bool]) -> Window:
    made = [
        Spoken(path, int(begin * SAMPLE_RATE), int(end * SAMPLE_RATE), whole)
        for path, begin, end, whole in spoken
    ]
    return Window(np.zeros(1, np.float32), tuple(made), 1, np.zeros(1, np.float32))


def asked(seconds: float, *spoken: tuple[Path, float, float, bool]) -> set[tuple[bool, str]]:
    """Whether it is translated, and what is said, the end as ``|``, over many draws."""
    made, found = tokenizer(), set()
    for seed in range(40):
        dictation = Dictator(made, TEXTS)(window(*spoken), seconds, random.Random(seed))
        ids = [token.id for token in dictation.tokens]
        text = made.decode([each for each in ids if each != made.end])
        found.add((dictation.is_translation, text + "|" * (made.end in ids)))
        task = "<|translate|>" if dictation.is_translation else "<|transcribe|>"
        assert made.special(task) in dictation.prompt
    return found


def test_both_texts_are_asked_for_in_turn() -> None:
    spoken = ((FIRST, 0.5, 2.0, True), (SECOND, 2.5, 3.0, True))
    assert asked(4.0, *spoken) == {(False, "a b. e.|"), (True, "c d. f.|")}
    # One that nobody has translated cannot be.
    assert asked(4.0, (FIRST, 0.0, 1.0, True), (OTHER, 1.0, 2.0, True)) == {(False, "a b. g.|")}


def test_nothing_is_asked_of_whom_the_stream_cuts_off() -> None:
    cut_off = ((FIRST, 0.0, 1.0, True), (SECOND, 2.0, 4.0, True))
    assert asked(3.0, *cut_off) == {(False, "a b."), (True, "c d.")}
    assert asked(1.5, *cut_off) == {(False, "a b.|"), (True, "c d.|")}
    unfinished = ((FIRST, 0.0, 1.0, True), (SECOND, 2.0, 3.0, False))
    assert asked(3.0, *unfinished) == {(False, "a b."), (True, "c d.")}


def test_a_token_is_about_the_recording_that_says_it() -> None:
    spoken = ((FIRST, 0.5, 2.0, True), (SECOND, 2.5, 3.0, True))
    dictation = Dictator(tokenizer(), TEXTS)(window(*spoken), 4.0, random.Random(0))
    stretches = [(token.begin, token.end) for token in dictation.tokens]
    assert stretches[0] == (0.5, 2.0) and stretches[-2] == (2.5, 3.0) and stretches[-1][1] == 4.0


def test_recordings_are_grouped_by_folder_and_language() -> None:
    texts = {**TEXTS, OTHER: Texts("fr", "g", "")}
    found = grouped([[FIRST, OTHER, Path("unknown")], [SECOND]], texts)
    assert found == [[FIRST], [OTHER], [SECOND]]


def test_folders_without_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected folders that `echostream data` makes"):
        read_texts([tmp_path])
    with pytest.raises(DataError, match="none of 2 recordings has texts"):
        grouped([[Path("a")], [Path("b")]], TEXTS)


def test_texts_in_capitals_are_learned_as_sentences(tmp_path: Path) -> None:
    row = dataclasses.replace(ROW, src_text="NO LO SÉ. ¿Y TÚ?", tgt_text="I DON'T KNOW")
    write_manifest(tmp_path / MANIFEST, [row])
    (found,) = read_texts([tmp_path]).values()
    assert (found.transcript, found.translation) == ("No lo sé. ¿Y tú?", "I don't know")
