"""SentencePiece vocabularies of transcript and translation."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from echostream.decoder.tokenizer import Tokenizer
from echostream.errors import DataError
from echostream.whole_file import replacing


def vocabulary(path: Path, texts: Iterable[str], size: int) -> Tokenizer:
    """The SentencePiece unigram model at ``path``, trained on ``texts`` if it is not there yet.

    Raises:
        DataError: if the texts do not give a vocabulary of that size, or the file has another.
    """
    if not path.exists():
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                model_type="unigram",
                character_coverage=1.0,
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f"cannot train a SentencePiece vocabulary of {size} units: {error}; change "
                "asr_vocab_size or st_vocab_size in the configuration"
            ) from error
        with replacing(path) as part:
            part.write_bytes(model.getvalue())
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.vocab_size != size:
        raise DataError(
            f"{path} has {tokenizer.vocab_size} units but the configuration asks for {size}; "
            "give another --output, or remove that file to train it again"
        )
    return tokenizer
