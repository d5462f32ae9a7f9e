import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.hosts.options import read_forced_target
from echostream.model.importers.vocabulary_rows import read_dictionary
from echostream.text import normalise, read_lines, sentence_case, without_marks
from echostream.training.recipes.tuxpaint import read_captions
from eval.sweep.sources import read_list


def test_normalise() -> None:
    assert (
        normalise("  Don\u2019t STOP_now, 'friend' -- \u00bf\uff41?") == "don't stop now friend a"
    )
    assert normalise("... ' -") == ""


SENTENCES = {
    "Hindi": ("मेरा नाम रमा है।", "मेरा नाम रमा है"),
    "Hindi digits": ("मैंने १२ किताबें पढ़ीं!", "मैंने १२ किताबें पढ़ीं"),
    "Bengali": ("আমি বাংলায় গান গাই।", "আমি বাংলায় গান গাই"),
    "Tamil": ("எனக்குத் தமிழ் பிடிக்கும், நன்றி!", "எனக்குத் தமிழ் பிடிக்கும் நன்றி"),
    "Thai": ("ผมดื่มน้ำที่นี่ (ทุกวัน)", "ผมดื่มน้ำที่นี่ ทุกวัน"),
    "Lao": ("ຂ້ອຍກິນນ້ຳ.", "ຂ້ອຍກິນນ້ຳ"),
    "Khmer": ("ខ្ញុំ\u200bស្រឡាញ់ភាសាខ្មែរ។", "ខ្ញុំ ស្រឡាញ់ភាសាខ្មែរ"),
    "Burmese": ("မြန်မာစကား၊ ပြောတတ်ပါသည်။", "မြန်မာစကား ပြောတတ်ပါသည်"),
    "Sinhala": ("ශ්\u200dරී ලංකාව ලස්සනයි.", "ශ්\u200dරී ලංකාව ලස්සනයි"),
    "Malayalam": ("അവന്\u200d വന്നു.", "അവന്\u200d വന്നു"),
    "Arabic": ("السَّلَامُ عَلَيْكُمْ، كَيْفَ الحَالُ؟", "السَّلَامُ عَلَيْكُمْ كَيْفَ الحَالُ"),
    "Persian": ("کتاب\u200cها را می\u200cخوانم؛ خوب\u200c.", "کتاب\u200cها را می\u200cخوانم خوب"),
    "Hebrew": ("שָׁלוֹם, מַה שְּׁלוֹמֵךְ? צה״ל", "שָׁלוֹם מַה שְּׁלוֹמֵךְ צה״ל"),
    "Turkish": ("İSTANBUL'da İyi günler!", "istanbul'da iyi günler"),
    "Turkish, two signs": ("I\u0307stanbul", "istanbul"),
    "Vietnamese": ("TIẾNG VIỆT, rất hay.", "tiếng việt rất hay"),
    "Vietnamese, NFD": (unicodedata.normalize("NFD", "Tiếng Việt"), "tiếng việt"),
    "Greek": ("«Ο ΔΡΌΜΟΣ», είπε· ναι;", "ο δρόμος είπε ναι"),
    "Russian": ("Ёлка — зелёная, правда?", "ёлка зелёная правда"),
    "Ukrainian": ("М\u02bcята і п\u2019ять, сім'я", "м'ята і п'ять сім'я"),
    "Hawaiian": ("\u02bbO Hawai\u02bbi n\u014d.", "\u02bbo hawai\u02bbi n\u014d"),
    "Catalan": ("Col·laborar, sí.", "col·laborar sí"),
    "German": ("Die STRAẞE, der Fuß: „groß“!", "die straße der fuß groß"),
    "French": ("L\u2019œuvre d\u2019Anaïs, ça va\u00a0?", "l'œuvre d'anaïs ça va"),
    "Korean": ("안녕하세요, 여러분!", "안녕하세요 여러분"),
    "Japanese": ("「ﾄｳｷｮｳ」へ行きます。ラーメン、時々", "トウキョウ へ行きます ラーメン 時々"),
    "Chinese": ("你好，世界！ＡＢＣ１２", "你好 世界 abc12"),
    "Georgian": ("ᲒᲐᲛᲐᲠᲯᲝᲑᲐ, როგორ ხარ?", "გამარჯობა როგორ ხარ"),
    "Amharic": ("ሰላም፡ ለዓለም።", "ሰላም ለዓለም"),
    "Armenian": ("Ինչպե՞ս ես։", "ինչպես ես"),
    "Soft hyphens": ("co\u00adope\u00adrate \u200fABC\u200e", "cooperate abc"),
    "Pictures": ("I ❤\ufe0f you 👩\u200d🚀 葛\U000e0100飾", "i you 葛飾"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_every_script_is_what_its_reader_expects(name: str) -> None:
    written, expected = SENTENCES[name]
    assert normalise(written) == unicodedata.normalize("NFC", expected)


@settings(deadline=None)
@given(st.text())
def test_normalised_text_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.lower() and once == " ".join(once.split())


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "Mn", "Mc", "Nd", "P", "Zs", "Cf"])))
def test_no_letter_is_lost(text: str) -> None:
    """What is removed is neither a letter nor a digit, in whatever order signs come."""
    once = normalise(text)
    assert normalise(once) == once
    plain = unicodedata.normalize("NFKC", text.lower())
    letters = sum(c.isalnum() for c in once)
    assert letters >= sum(c.isalnum() and c not in "\u02bc" for c in plain)


@pytest.mark.parametrize(
    ("capitals", "written"),
    [
        ("¡NO PUEDO SEGUIR! ¿QUÉ PASA, TÚ?", "¡No puedo seguir! ¿Qué pasa, tú?"),
        ("YES, THAT'S DONE. I THINK I'M... LOST", "Yes, that's done. I think I'm... Lost"),
        ("«ÉL» DIJO", "«Él» dijo"),
        ("HI", "Hi"),
        ("M I S D N", "M I S D N"),
        ("The BBC said no", "The BBC said no"),
        ("12", "12"),
        ("", ""),
    ],
)
def test_capitals_become_sentences(capitals: str, written: str) -> None:
    assert sentence_case(capitals) == written
    assert normalise(capitals) == normalise(written)


def test_letters_lose_their_marks() -> None:
    assert without_marks("¿Qué? Año, pingüino; Ça où ÉL") == "¿Que? Ano, pinguino; Ca ou EL"
    assert without_marks("plain 'text', ß") == "plain 'text', ß"
    for name in ("Hindi", "Thai", "Arabic", "Hebrew", "Khmer", "Japanese"):
        text = unicodedata.normalize("NFC", SENTENCES[name][0])
        assert without_marks(text) == text


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes("\ufeffeins\r\nzwei\u2028zwei\n\n".encode())
    assert read_lines(path) == ["eins", "zwei\u2028zwei", ""]
    path.write_bytes(b"")
    assert read_lines(path) == []
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"the list .*/list: .*expected UTF-8"):
        read_lines(path)
    with pytest.raises(DataError, match="cannot read the references .*No such file"):
        read_lines(tmp_path / "missing", "references")


READERS: dict[str, Callable[[Path], object]] = {
    "recordings and references": read_list,
    "--forced-target": lambda path: read_forced_target(str(path)),
    "fairseq dictionary": lambda path: read_dictionary(path)[-1:],
    "captions": lambda path: [read_captions(path)["en"]],
}


@pytest.mark.parametrize("name", READERS)
def test_no_list_begins_with_a_byte_order_mark(tmp_path: Path, name: str) -> None:
    path = tmp_path / "list"
    path.write_bytes("\ufeffeins 1\r\n".encode())
    assert READERS[name](path) in (["eins 1"], ["eins"])
