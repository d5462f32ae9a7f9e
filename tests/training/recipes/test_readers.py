"""Each reader on a made-up folder in its layout."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.clip import file_id, plausible_rate
from echostream.training.recipes.asterisk import read_transcript, spoken_text
from echostream.training.recipes.drascula import Drascula, read_texts
from echostream.training.recipes.tuxpaint import Tuxpaint

from .packages import GAME, STAMPS, als, drascula_dat, ogg, tone, write_tree

PAIR = ("es", "en", (0, 0, 0))


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("at [@]", "at"),
        ("space [ ]", "space"),
        ("Sus saludos [temporales] estan en uso", "Sus saludos temporales estan en uso"),
        ("Two  spaces.\tTab", "Two spaces. Tab"),
        ("[ tono de error ]", ""),
        ("<beep ascending>", ""),
        ('IAX (note: does not say "2")', ""),
    ],
)
def test_asterisk_spoken_text(written: str, spoken: str) -> None:
    assert spoken_text(written) == spoken


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "core-sounds-es.txt.gz"
    path.write_bytes(gzip.compress(b"a: b\n" * 100)[:-12])
    with pytest.raises(DataError, match="core-sounds-es"):
        read_transcript(path)
    files = {f"{STAMPS}/a_desc_es.ogg": b"OggS", f"{STAMPS}/a.txt": b"A.\nes.utf8=B.\n"}
    with pytest.raises(DataError, match="a_desc_es.ogg"):
        Tuxpaint(*PAIR).clips({"tuxpaint-stamps-default": write_tree(tmp_path, files)})


def test_tuxpaint_reads_captions_and_drops_copies(tmp_path: Path) -> None:
    recording, other = ogg(tone(0.7, 44_100), 44_100), ogg(tone(0.9, 22_050), 22_050)
    captions = "A “Fuji” apple.\r\nes.utf8=Una manzana Fuji.\nes_MX.utf8=no\nca.utf8=Una poma\n"
    files = {
        f"{STAMPS}/food/fuji_desc_es.ogg": recording,
        f"{STAMPS}/food/fuji.txt": captions.encode(),
        f"{STAMPS}/food/apple_desc_es.ogg": recording,
        f"{STAMPS}/food/apple.txt": b"An apple.\nes.utf8=Una manzana.\n",
        f"{STAMPS}/food/pear_desc_es.ogg": other,
        f"{STAMPS}/food/pear.txt": b"A pear.\nfr.utf8=Une poire.\n",
        f"{STAMPS}/untold_desc_es.ogg": other,
        f"{STAMPS}/a/tree_desc_es.ogg": other,
        f"{STAMPS}/a/tree.txt": "A tree.\nes.utf8= Un  árbol. \n".encode(),
        f"{STAMPS}/a/tree_desc_ca.ogg": other,
    }
    root = write_tree(tmp_path, files)
    clips = Tuxpaint(*PAIR).clips({"tuxpaint-stamps-default": root})
    # food/apple and food/fuji are one recording; the first name keeps it.
    found = [(clip.id, clip.src_text, clip.tgt_text) for clip in clips]
    assert found == [
        ("a_tree", "Un árbol.", "A tree."),
        ("food_apple", "Una manzana.", "An apple."),
    ]
    assert [clip.seconds for clip in clips] == pytest.approx([0.9, 0.7], abs=1e-4)


def test_drascula_finds_texts_by_prefix_and_number(tmp_path: Path) -> None:
    texts = {
        ("text", "en"): ["", "HELLO ", "", "ONE  TWO"],
        ("text", "es"): ["", "HOLA", "NADA", "UNO DOS"],
        ("textbj", "en"): ["", "", "BYE"],
        ("textbj", "es"): ["", "", "ADIÓS, SEÑOR"],
        ("textb", "en"): ["", "", "WRONG"],
        ("textb", "es"): ["", "", "FALSO"],
    }
    dat = write_tree(tmp_path / "en", {f"{GAME}/en/drascula.dat": drascula_dat(texts)})
    second = als(tone(1.0, 11_025))
    names = ("1", "2", "3", "BJ2", "S1", "99", "D1", "X", "1B")
    speech = write_tree(tmp_path / "es", {f"{GAME}/es/{name}.ALS": second for name in names})
    clips = Drascula(*PAIR).clips({"drascula": dat, "drascula-spanish": speech})
    found = [(clip.id, clip.src_text, clip.tgt_text, clip.speaker) for clip in clips]
    assert found == [
        ("1", "HOLA", "HELLO", "drascula-es-main"),
        ("3", "UNO DOS", "ONE TWO", "drascula-es-main"),
        ("BJ2", "ADIÓS, SEÑOR", "BYE", "drascula-es-bj"),
    ]
    assert {clip.seconds for clip in clips} == {1.0}
    path = tmp_path / "1.ALS"
    path.write_bytes(b"\x11" * 32 + bytes([0, 64, 128, 192, 255]) + b"fact" * 8)
    samples, sample_rate = Drascula(*PAIR).decode(path)
    assert sample_rate == 11_025
    np.testing.assert_array_equal(samples, np.array([-1, -0.5, 0, 0.5, 127 / 128]))


DAT = drascula_dat({("text", "en"): ["", "HELLO"], ("text", "es"): ["", "HOLA"]})


@given(size=st.integers(0, len(DAT) - 1))
@settings(deadline=None, max_examples=100)
def test_drascula_cut_short_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.dat"
    for content in (DAT[:size], DAT + b"\0"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cut.dat"):
            read_texts(path)


def test_plausible_rates_and_names() -> None:
    # Two letters and a pause may last five seconds.
    for text, seconds in (("No", 0.45), ("No", 5.0), ("x" * 25, 1.0)):
        assert plausible_rate(text, seconds)
    for text, seconds in (("No", 5.1), ("¿?", 1.0), ("a", 0.0), ("x" * 26, 1.0)):
        assert not plausible_rate(text, seconds)
    members = ("letters/a", "vm-Work", "../../etc/x")
    assert [file_id(name) for name in members] == ["letters_a", "vm-Work", ".._.._etc_x"]
