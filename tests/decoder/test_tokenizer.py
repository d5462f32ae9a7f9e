"""SentencePiece, and byte-level BPE: ids as other libraries give them, bytes held."""

import json
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder import Tokenizer
from echostream.decoder.bpe import ByteLevelTokenizer, words_of
from echostream.decoder.token_file import (
    TokenTable,
    read_tokens,
    table_of,
    to_printable,
    write_tokens,
)
from echostream.errors import CheckpointError, ConfigError


def library(tokenizer: Tokenizer) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)


def byte_ids(tokenizer: Tokenizer, data: bytes) -> list[int]:
    sp = library(tokenizer)
    return [sp.piece_to_id(f"<0x{value:02X}>") for value in data]


def test_text_goes_there_and_back(plain: Tokenizer, byte_fallback: Tokenizer) -> None:
    text = "the quick fox n'est café"
    assert plain.decode(plain.encode(text)) == text
    # Characters outside the vocabulary become bytes, and text again.
    assert byte_fallback.decode(byte_fallback.encode("hello 世界 😀 fox")) == "hello 世界 😀 fox"


def test_from_file_and_path_are_the_same(plain: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "model with space é.model"
    path.write_bytes(plain.model_bytes)
    for again in (Tokenizer.from_file(path), Tokenizer(str(path)), Tokenizer(plain.model_bytes)):
        assert again.model_bytes == plain.model_bytes
        assert again.fingerprint == plain.fingerprint
        assert again.vocab_size == library(plain).vocab_size()


def test_blank_is_one_after_the_last_piece(plain: Tokenizer) -> None:
    assert plain.blank == plain.vocab_size


def test_suppressed_are_unknown_and_control(plain: Tokenizer, byte_fallback: Tokenizer) -> None:
    assert plain.suppressed == (0, 1, 2, 3)  # <unk> <s> </s> <pad>
    assert byte_fallback.suppressed == (0, 1, 2)


def test_starts_word(plain: Tokenizer) -> None:
    sp = library(plain)
    for index in range(plain.vocab_size):
        assert plain.starts_word(index) == (sp.id_to_piece(index)[0] == "▁")


@settings(deadline=None)
@given(data=st.data())
def test_decoding_equals_sentencepiece_for_valid_tokens(
    data: st.DataObject, plain: Tokenizer, multi_word: Tokenizer
) -> None:
    tokenizer = data.draw(st.sampled_from([plain, multi_word]))
    usable = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.suppressed]
    ids = data.draw(st.lists(st.sampled_from(usable), max_size=30))
    assert tokenizer.decode(ids) == library(tokenizer).decode(ids).strip()


@pytest.mark.fault("F40")
@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=8), cut=st.integers(0, 8), junk=st.binary(max_size=3))
def test_bytes_give_whole_characters_or_nothing(
    text: str, cut: int, junk: bytes, byte_fallback: Tokenizer
) -> None:
    data = text.encode("utf-8", "ignore")
    data = data[: len(data) - cut] + junk
    ids = byte_ids(byte_fallback, data)
    out = byte_fallback.decode(ids)
    assert "\ufffd" not in out
    # SentencePiece marks every bad byte with U+FFFD; we leave those out.
    assert out == library(byte_fallback).decode(ids).replace("\ufffd", "").strip()


def test_incomplete_bytes_are_held_then_given_at_once(byte_fallback: Tokenizer) -> None:
    held = b""
    seen = []
    for index in byte_ids(byte_fallback, "中😀".encode()):
        text, held = byte_fallback.append(index, held)
        seen.append(text)
    assert seen == ["", "", "中", "", "", "", "😀"]
    assert held == b""


def test_a_replacement_mark_spelt_in_bytes_gives_nothing(byte_fallback: Tokenizer) -> None:
    assert byte_fallback.decode(byte_ids(byte_fallback, "a\ufffdb".encode())) == "ab"


def test_another_piece_ends_a_half_character(byte_fallback: Tokenizer) -> None:
    hello = byte_fallback.encode("fox")
    half = byte_ids(byte_fallback, b"\xe4\xb8")
    assert byte_fallback.decode([*half, *hello, *byte_ids(byte_fallback, b"\xad")]) == "fox"
    assert byte_fallback.append(hello[0], b"\xe4\xb8")[1] == b""
    # A control token comes between two halves: they are not one character.
    assert byte_fallback.decode([*half, 1, *byte_ids(byte_fallback, b"\xad")]) == ""


@pytest.mark.fault("F40")
def test_silent_tokens_give_nothing(plain: Tokenizer) -> None:
    assert plain.decode([0, 1, 2, 3]) == ""
    word = plain.encode("hello")
    assert plain.decode([0, *word[:2], 1, 0, *word[2:], 3]) == "hello"
    assert plain.decode([]) == ""


@pytest.mark.parametrize("offset", [0, 1])
def test_ids_outside_the_vocabulary(plain: Tokenizer, offset: int) -> None:
    with pytest.raises(IndexError, match=r"the CTC blank, \d+, is not a piece"):
        plain.decode([plain.vocab_size + offset])
    with pytest.raises(IndexError, match="-1"):
        plain.starts_word(-1)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.model.*No such file"):
        Tokenizer.from_file(tmp_path / "nowhere.model")
    with pytest.raises(CheckpointError, match="cannot read"):
        Tokenizer.from_file(tmp_path)  # a folder


@pytest.mark.fault("F30")
@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_a_truncated_model_is_refused(plain: Tokenizer, size: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.model"
    path.write_bytes(plain.model_bytes[:size])
    with pytest.raises(CheckpointError, match=r"cut\.model.*(damaged|empty).*train it again"):
        Tokenizer.from_file(path)


def test_garbage_is_refused() -> None:
    with pytest.raises(CheckpointError, match="of 7 bytes is damaged"):
        Tokenizer(b"garbage")


@pytest.mark.fault("F30")
def test_a_model_without_word_marks_is_refused(unmarked_model: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"none begins with U\+2581"):
        Tokenizer(unmarked_model)


GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "bpe.json").read_text(encoding="utf-8"))
SPECIAL = ("<|endoftext|>", "<|es|>", "<|haw|>", "<|translate|>", "<|nospeech|>", "<|0.02|>")
NUM_TEXT = len(GOLDEN["tokens"])
PLAIN = ByteLevelTokenizer(table_of([*GOLDEN["tokens"], *SPECIAL[:1]], [NUM_TEXT]))


@pytest.fixture(scope="module")
def table() -> TokenTable:
    return table_of(
        [*GOLDEN["tokens"], *SPECIAL],
        range(NUM_TEXT, NUM_TEXT + len(SPECIAL)),
        languages=["es", "haw"],
        suppressed=[1, 7],
        suppressed_at_start=[220, NUM_TEXT],
    )


@pytest.fixture(scope="module")
def tokenizer(table: TokenTable) -> ByteLevelTokenizer:
    return ByteLevelTokenizer(table)


@pytest.mark.parametrize("text", GOLDEN["ids"])
def test_ids_are_those_of_another_library(text: str, tokenizer: ByteLevelTokenizer) -> None:
    assert tokenizer.encode(text) == GOLDEN["ids"][text]


@given(st.text())
def test_bytes_of_a_text_go_there_and_back(text: str) -> None:
    assert PLAIN.decode(PLAIN.encode(text)) == text.replace("\ufffd", "").strip()
    assert "".join(words_of(text)) == text


@given(st.binary(max_size=40))
def test_bytes_are_held_until_the_character_is_complete(data: bytes) -> None:
    """Each byte as a token of its own; Python's own decoder says what is to be seen."""
    text, held = "", b""
    for byte in data:
        added, held = PLAIN.append(GOLDEN["tokens"].index(to_printable(bytes([byte]))), held)
        assert len(held) < 4
        text += added
    assert text == data.decode("utf-8", "ignore").replace("\ufffd", "")


def test_special_tokens_are_never_shown(tokenizer: ByteLevelTokenizer) -> None:
    half = tokenizer.encode("é")
    held = b"\xc3"
    for name in SPECIAL:
        assert tokenizer.append(tokenizer.special(name), held) == ("", b"")
    assert tokenizer.decode([*half, tokenizer.special("<|es|>"), *half]) == "éé"
    assert tokenizer.decode(tokenizer.encode("<|es|>")) == "<|es|>"
    assert not set(tokenizer.encode("<|es|>")) & tokenizer.table.special


def test_a_search_may_emit_text_and_the_end(tokenizer: ByteLevelTokenizer) -> None:
    end = tokenizer.special("<|endoftext|>")
    assert end == tokenizer.end == NUM_TEXT
    assert set(tokenizer.suppressed) == {1, 7, *range(NUM_TEXT + 1, NUM_TEXT + len(SPECIAL))}
    assert tokenizer.suppressed_at_start == (220, end)


def test_languages(tokenizer: ByteLevelTokenizer) -> None:
    assert tokenizer.languages == ("es", "haw")
    assert tokenizer.language("haw") == NUM_TEXT + 2
    with pytest.raises(ConfigError, match="no language 'en'; expected one of es, haw"):
        tokenizer.language("en")
    with pytest.raises(ConfigError, match=r"no special token '<\|startofprev\|>'.*nospeech\|>$"):
        tokenizer.special("<|startofprev|>")


def test_bytes_that_start_a_word(tokenizer: ByteLevelTokenizer) -> None:
    starts = [tokenizer.starts_word(i) for i in tokenizer.encode("in the end")]
    assert starts == [False, True, True]
    with pytest.raises(IndexError, match=f"expected 0 to {NUM_TEXT + len(SPECIAL) - 1}"):
        tokenizer.starts_word(-1)


def test_file_round_trip(table: TokenTable, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write_tokens(table, path)
    assert read_tokens(path) == table
    assert ByteLevelTokenizer.from_file(path).fingerprint == ByteLevelTokenizer(table).fingerprint


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "echostream-tokens-9"}, "format 'echostream-tokens-9'"),
        ({"tokens": None}, "no list of str 'tokens'"),
        ({"tokens": ["a", 3]}, "no list of str 'tokens'"),
        ({"special": [True]}, "no list of int 'special'"),
        ({"special": [99_999]}, "special has the id 99999"),
        ({"suppressed": [-1]}, "suppressed has the id -1"),
        ({"languages": ["de"]}, "the language 'de'"),
        ({"tokens": ["日"], "special": [], "languages": []}, "'日', which stands for no byte"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: dict[str, object], message: str, table: TokenTable, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.json"
    write_tokens(table, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError) as caught:
        ByteLevelTokenizer.from_file(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_file_that_is_no_vocabulary_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(text)
    for path in (tmp_path / "tokens.json", tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(CheckpointError, match="import-whisper"):
            read_tokens(path)


def test_a_vocabulary_without_end_or_bytes_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no <\|endoftext\|>"):
        ByteLevelTokenizer(table_of(GOLDEN["tokens"], []))
    with pytest.raises(CheckpointError, match="no token for 255 of the 256 bytes, the first is 0"):
        ByteLevelTokenizer(table_of(["!", SPECIAL[0]], [1]))
