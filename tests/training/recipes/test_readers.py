"""Each reader on a made-up folder in its layout."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.clip import file_id, plausible_rate
from echostream.training.recipes.asterisk import Asterisk, read_transcript, spoken_text
from echostream.training.recipes.drascula import Drascula, read_texts
from echostream.training.recipes.tuxpaint import Tuxpaint

from .packages import (
    GAME,
    SOUNDS,
    STAMPS,
    VOICE,
    als,
    asterisk_texts,
    drascula_dat,
    g722,
    ogg,
    tone,
    write_tree,
)

PAIR = ("es", "en", (0, 0, 0))


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Highest normalised correlation over shifts of up to 64 samples (coders delay)."""
    size = min(left.size, right.size) - 128
    middle = right[64 : 64 + size]
    return max(float(np.corrcoef(left[shift : shift + size], middle)[0, 1]) for shift in range(128))


def chirp(sample_rate: int) -> np.ndarray:
    """A sweep of one second from 200 to 1200 Hz: no shift looks like another."""
    time = np.arange(sample_rate) / sample_rate
    return (0.4 * np.sin(2 * np.pi * (200 * time + 500 * time**2))).astype(np.float32)


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


def test_asterisk_pairs_prompts_by_id(tmp_path: Path) -> None:
    spanish = "; note: x\ndigits/1: uno\ndigits/1: diez\nauth: Gracias: adios\nlast:\n"
    spanish += "beep: [tono]\n"
    english = "digits/1: One\nauth: Thank you\nbeep: [tone]\nlast: Last\nonly-en: x\nsilence/1: s\n"
    names = ("digits/1", "auth", "beep", "last", "only-en", "untold", "silence/1")
    packages = asterisk_texts(spanish + "silence/1: s\n", english)
    packages["asterisk-core-sounds-es-g722"] = {
        f"{SOUNDS}/{name}.g722": b"\0" * 8000 for name in names
    }
    roots = {name: write_tree(tmp_path / name, files) for name, files in packages.items()}
    clips = Asterisk(*PAIR).clips(roots)
    found = [(clip.id, clip.src_text, clip.tgt_text, clip.seconds, clip.speaker) for clip in clips]
    assert found == [
        ("auth", "Gracias: adios", "Thank you", 1.0, VOICE),
        ("digits_1", "uno", "One", 1.0, VOICE),
    ]


def test_asterisk_decodes_g722(tmp_path: Path) -> None:
    path = tmp_path / "a.g722"
    path.write_bytes(g722(chirp(16_000)))
    samples, sample_rate = Asterisk(*PAIR).decode(path)
    assert (sample_rate, samples.shape, str(samples.dtype)) == (16_000, (16_000,), "float32")
    assert np.abs(samples).max() == pytest.approx(0.4, abs=0.05)
    assert correlation(samples, chirp(16_000)) > 0.99
    path = tmp_path / "core-sounds-es.txt.gz"
    path.write_bytes(gzip.compress(b"a: b\n" * 100)[:-12])
    with pytest.raises(DataError, match="core-sounds-es"):
        read_transcript(path)


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


def test_tuxpaint_mixes_channels_down(tmp_path: Path) -> None:
    files = {f"{STAMPS}/a_desc_es.ogg": b"OggS", f"{STAMPS}/a.txt": b"A.\nes.utf8=B.\n"}
    with pytest.raises(DataError, match="a_desc_es.ogg"):
        Tuxpaint(*PAIR).clips({"tuxpaint-stamps-default": write_tree(tmp_path, files)})
    path = tmp_path / "a.ogg"
    wave = chirp(44_100)
    path.write_bytes(ogg(np.stack([wave, 0 * wave], axis=1), 44_100))
    samples, sample_rate = Tuxpaint(*PAIR).decode(path)
    assert (sample_rate, samples.shape) == (44_100, (44_100,))
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.5 * 0.4 / np.sqrt(2), rel=0.05)
    assert correlation(samples, wave) > 0.99


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


strings = st.lists(st.text(st.sampled_from("ABCñÑ¿¡é .,0"), max_size=9), min_size=1, max_size=6)


@given(english=strings, spanish=strings)
@settings(deadline=None, max_examples=40)
def test_drascula_texts_survive(
    tmp_path_factory: pytest.TempPathFactory, english: list[str], spanish: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "texts.dat"
    path.write_bytes(drascula_dat({("textp", "en"): english, ("textp", "es"): spanish}))
    texts = read_texts(path)
    count = max(len(english), len(spanish))
    assert texts["P", "en"] == english + [""] * (count - len(english))
    assert texts["P", "es"] == spanish + [""] * (count - len(spanish))
    assert texts["VB", "ru"] == ["", ""]


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
