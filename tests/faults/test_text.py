"""F40 to F43: what the decoder may come up with."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from echostream.decoder import Tokenizer, WordAssembler, create
from echostream.decoder.ctc.protocol import Token
from echostream.decoder.repetition import DEFAULT_MAX_REPEATS
from echostream.flight.recorder import counters
from echostream.session.listener import EncodedChunk
from echostream.session.translator import TranslatorState
from tests.decoder.conftest import CHINESE, TEXT, train


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """With all bytes as pieces."""
    return Tokenizer(train(TEXT, model_type="unigram", vocab_size=320, byte_fallback=True))


def words(assembler: WordAssembler, calls: list[list[int]]) -> tuple[list[str], Any]:
    """The words of tokens that come in these calls, and those that came before the flush."""
    state, found, frame = assembler.init_state(), [], itertools.count()
    for ids in calls:
        out, state = assembler.step([Token(i, next(frame)) for i in ids], state)
        found += [word.text for word in out]
    before = list(found)
    out, state = assembler.flush(state)
    return found + [word.text for word in out], before


def byte_ids(tokenizer: Tokenizer, data: bytes) -> list[int]:
    return [tokenizer._processor.piece_to_id(f"<0x{value:02X}>") for value in data]


def test_F40_silent_pieces_and_bare_word_marks_are_no_text(tokenizer: Tokenizer) -> None:
    silent = list(tokenizer.suppressed)
    mark = tokenizer._processor.piece_to_id("\u2581")
    assert silent and not tokenizer._processor.is_unknown(mark)
    for calls in ([], [[]], [silent * 3], [[mark] * 5], [[mark], silent, [mark]]):
        assert words(WordAssembler(tokenizer), calls) == ([], [])


def test_F40_bytes_of_a_character_are_held_over_a_chunk_boundary(tokenizer: Tokenizer) -> None:
    text = "año 音 é"
    ids = byte_ids(tokenizer, text.encode())
    for cut in range(len(ids) + 1):
        found, before = words(WordAssembler(tokenizer), [ids[:cut], ids[cut:]])
        assert found == text.split()
        assert before == text.split()[:-1]  # the last word is not known to be whole


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc3", b"ab\xe9", b"\xe9\x9f", b"\x80\x80a", b"\xf8ok"]
)
def test_F40_invalid_bytes_give_valid_text_or_none(tokenizer: Tokenizer, data: bytes) -> None:
    ids = byte_ids(tokenizer, data)
    for cut in range(len(ids) + 1):
        found, _ = words(WordAssembler(tokenizer), [ids[:cut], ids[cut:]])
        text = "".join(found)
        assert "\ufffd" not in text
        assert set(text) <= {chr(byte) for byte in data if byte < 128}
        text.encode("utf-8")


def test_F40_control_pieces_are_never_emitted_even_if_most_probable(translate: Any) -> None:
    translator = translate(policy="stub")
    suppressed = translator.writer._target._decoder.suppress
    assert suppressed
    scores = torch.full((40, 31), -9.0)
    scores[:, list(suppressed)] = -0.1
    turns, _, _ = said(translator, scores)
    assert [word for turn in turns for word in turn.words] == []


@pytest.mark.parametrize("name", ["greedy", "prefix-beam"])
@pytest.mark.parametrize("symbols", ["a|a", "a-|a", "a|-a", "aa|a-a", "a|b|b-b", "-|a|-", "ab|ab"])
def test_F41_repeats_across_a_boundary_are_as_offline(name: str, symbols: str) -> None:
    def rows(text: str) -> torch.Tensor:
        probabilities = torch.full((len(text), 3), 0.001)
        for frame, symbol in enumerate(text):
            probabilities[frame, "ab-".index(symbol)] = 0.998
        return probabilities.log()

    decoder = create(name, blank=2)

    def run(parts: list[str]) -> str:
        state, tokens = decoder.init_state(), []
        for part in parts:
            output, state = decoder.step(rows(part), state)
            tokens += output.stable
        tokens += decoder.flush(state)[0].stable
        return "".join("ab"[token.id] for token in tokens)

    whole = symbols.replace("|", "")
    expected = "".join(symbol for symbol, _ in itertools.groupby(whole)).replace("-", "")
    assert run(symbols.split("|")) == run([whole]) == run(list(whole)) == expected


def said(translator: Any, scores: torch.Tensor, chunk: int = 16) -> Any:
    """The writer alone, given the log-probabilities of both heads."""
    chunks = [
        EncodedChunk(torch.zeros(len(part), 24), part, part, is_whole=len(part) == chunk)
        for part in scores.split(chunk)
    ]
    return translator.writer.step(chunks, translator.writer.init_state(), is_final=True)


@pytest.mark.parametrize("decoder", ["greedy", "prefix-beam"])
def test_F42_endless_repetition_is_cut_and_counted(translate: Any, decoder: str) -> None:
    translator = translate(policy="stub", decoder=decoder)
    tokenizer = translator.writer._target._assembler._tokenizer
    ids = tokenizer.encode("the")
    scores = torch.full((1000, 31), -12.0)
    for frame in range(1000):  # "the", with a blank after every piece, for 20 s
        scores[frame, ids[frame // 2 % len(ids)] if frame % 2 == 0 else 30] = -0.001
    turns, _, writer = said(translator, scores)
    spoken = [word for turn in turns for word in turn.words]
    copies = len(list(tokenizer.encode("the"))) and 500 // len(ids)
    assert set(spoken) <= {"the", "the"[: len(spoken[-1])]}
    assert DEFAULT_MAX_REPEATS <= len(spoken) <= DEFAULT_MAX_REPEATS + 1
    state = TranslatorState(translator.listener.init_state(), writer)
    assert counters(state)["words_dropped"] >= copies - len(spoken) - 1 > 100


def test_F43_without_spaces_every_character_is_a_unit() -> None:
    tokenizer = Tokenizer(train(CHINESE, model_type="char", character_coverage=1.0))
    text = "今天天气很好"
    ids = tokenizer.encode(text)
    assembler = WordAssembler(tokenizer, unit="char")
    for cut in range(len(ids) + 1):
        found, before = words(assembler, [ids[:cut], ids[cut:]])
        assert found == list(text)
        assert before == found  # nothing waits for a space that never comes
    mark = tokenizer._processor.piece_to_id("\u2581")
    assert words(assembler, [[*ids, mark, mark]])[0] == list(text)
    assert np.array_equal(words(WordAssembler(tokenizer), [[*ids, mark]])[0], [text])
