"""A stream as bytes, and back: to stop in mid-word and go on in another process.

Everything that decides what comes next is in the bytes: what the front end has not used yet, the
encoder's state, the generator's, the words that are not written, the policy's memory. On the same
backend the continuation is equal, bit for bit, to that of a stream that was never saved.

The bytes are for the same weights, vocabularies, chunking, search and policy only; a fingerprint of
all of these is kept, and anything else is refused.
"""

import dataclasses
import hashlib
import json

from echostream.codec import decode, encode
from echostream.errors import StateMismatchError
from echostream.session.translator import Translator, TranslatorState

_WHAT = "stream"


def save_stream(translator: Translator, state: TranslatorState) -> bytes:
    """The whole state of one stream; the model's weights must stay as they are.

    Raises:
        StateMismatchError: if a part holds something that :mod:`echostream.codec` cannot save.
    """
    return encode(state, _WHAT, fingerprint(translator))


def restore_stream(translator: Translator, data: bytes) -> TranslatorState:
    """The stream that :func:`save_stream` wrote, for a translator built in the same way.

    Raises:
        StateMismatchError: if the bytes are damaged, or of another model, vocabulary, chunking,
            search, policy or version.
    """
    state: TranslatorState = decode(data, _WHAT, fingerprint(translator))
    encoder = state.listener.encoder.to(translator.listener.device)
    return dataclasses.replace(state, listener=dataclasses.replace(state.listener, encoder=encoder))


def fingerprint(translator: Translator) -> str:
    """SHA-256 of everything that a stream's continuation depends on besides its state."""
    if translator.settings is None:
        raise StateMismatchError(
            "the translator was put together by hand and cannot name its parts; expected one that "
            "build_translator made"
        )
    return hashlib.sha256(json.dumps(translator.settings, sort_keys=True).encode()).hexdigest()
