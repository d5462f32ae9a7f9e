"""Byte-level BPE: ids as another library gives them, bytes held, special tokens never shown."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echostream.decoder.bpe import ByteLevelTokenizer, words_of
from echostream.decoder.token_file import (
    TokenTable,
    read_tokens,
    table_of,
    to_printable,
    write_tokens,
)
from echostream.errors import CheckpointError, ConfigError

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
def test_text_goes_there_and_back(text: str) -> None:
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


def test_starts_word(tokenizer: ByteLevelTokenizer) -> None:
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
    with pytest.raises(CheckpointError, match="no <|endoftext|>"):
        ByteLevelTokenizer(table_of(GOLDEN["tokens"], []))
    with pytest.raises(CheckpointError, match="no token for 255 of the 256 bytes, the first is 0"):
        ByteLevelTokenizer(table_of(["!", SPECIAL[0]], [1]))
