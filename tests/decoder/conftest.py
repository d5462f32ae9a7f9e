"""Small SentencePiece models, trained once for the tests of the decoder."""

import io
from typing import Any

import pytest
import sentencepiece

from echostream.decoder import Tokenizer

TEXT = [
    "hello world this is a test of words",
    "the quick brown fox jumps over the lazy dog",
    "naïve café señor año niño",
    "l'expérience est bonne, n'est-ce pas?",
    "of the people by the people for the people",
] * 20

CHINESE = ["今天天气很好", "我们去公园吧", "你好 世界", "今天我们很好"] * 20


def train(text: list[str], **options: Any) -> bytes:
    """A serialised SentencePiece model of ``text``."""
    model = io.BytesIO()
    defaults = {"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, **{**defaults, **options}
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def plain() -> Tokenizer:
    """A unigram model with a padding id, as training would make it."""
    return Tokenizer(train(TEXT, model_type="unigram", pad_id=3))


@pytest.fixture(scope="session")
def byte_fallback() -> Tokenizer:
    """A model with 256 byte pieces."""
    return Tokenizer(train(TEXT, model_type="unigram", vocab_size=320, byte_fallback=True))


@pytest.fixture(scope="session")
def multi_word() -> Tokenizer:
    """A model with pieces that span words ("▁by▁the▁people")."""
    return Tokenizer(train(TEXT, model_type="unigram", vocab_size=120, split_by_whitespace=False))


@pytest.fixture(scope="session")
def chinese() -> Tokenizer:
    """A model of a language without spaces."""
    return Tokenizer(train(CHINESE, model_type="char", character_coverage=1.0))


@pytest.fixture(scope="session")
def unmarked_model() -> bytes:
    """A model without U+2581."""
    return train(["abcd", "efgh"] * 20, model_type="char", add_dummy_prefix=False)
