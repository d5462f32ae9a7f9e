"""A stream as bytes, and back: to stop in mid-word and go on in another process.

Everything that decides what comes next is in the bytes: what the front end has not used yet, the
encoder's state, both searches, the words that are not written, the policy's memory. On the same
backend the continuation is equal, bit for bit, to that of a stream that was never saved.

The bytes are for the same weights, vocabularies, chunking, search and policy only; a fingerprint of
all of these is kept, and anything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from echostream.audio import FrontEnd, FrontEndState
from echostream.decoder import Word
from echostream.decoder.ctc.hypothesis import HypothesisState
from echostream.decoder.words import WordState
from echostream.encoder import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import StateMismatchError
from echostream.saved_state import header_in, metadata_of, seal, unseal
from echostream.session.listener import ListenerState
from echostream.session.translator import Translator, TranslatorState
from echostream.session.writer import WriterState

FORMAT = "echostream-stream-1"
_COUNTS = ("num_chunks", "num_frames", "num_written")
_encoders: weakref.WeakKeyDictionary[ZipformerEncoder, str] = weakref.WeakKeyDictionary()
"""Fingerprints: of ``base`` one takes longer than a chunk, and hosts may save every segment."""


def save_stream(translator: Translator, state: TranslatorState) -> bytes:
    """The whole state of one stream; the model's weights must stay as they are.

    Raises:
        StateMismatchError: if a part cannot be saved: the baseline's encoder, a policy that keeps
            all encoder frames or something that JSON cannot hold, a search without ``to_json``.
    """
    encoder = _encoder_of(translator)
    if encoder not in _encoders:
        _encoders[encoder] = encoder.fingerprint()
    writer = state.writer
    if writer.history is not None:
        raise StateMismatchError(
            "the policy keeps all encoder frames (needs_encoder_history), which are not saved; "
            "expected a policy whose memory is in Decision.state"
        )
    header = {
        "format": FORMAT,
        "fingerprint": fingerprint(translator),
        "finished": state.listener.finished,
        "source": _hypothesis(writer.source),
        # The same object in both places for task asr.
        "target": None if writer.target is writer.source else _hypothesis(writer.target),
        "policy": writer.policy,
        "reference": writer.reference,
        **{name: getattr(writer, name) for name in _COUNTS},
    }
    try:
        metadata = metadata_of(header)
    except TypeError as error:
        raise StateMismatchError(
            f"the policy's memory cannot be saved ({error}); expected numbers, strings, lists and "
            "tuples in Decision.state"
        ) from error
    parts = {
        "front_end": state.listener.front_end.to_bytes(),
        "encoder": _stream_state(state).to_bytes(_encoders[encoder]),
    }
    arrays = {name: np.frombuffer(data, np.uint8) for name, data in parts.items()}
    return seal(safetensors.numpy.save(arrays, metadata=metadata))


def restore_stream(translator: Translator, data: bytes) -> TranslatorState:
    """The stream that :func:`save_stream` wrote, for a translator built in the same way.

    Raises:
        StateMismatchError: if the bytes are damaged, or of another model, vocabulary, chunking,
            search, policy or version.
    """
    encoder = _encoder_of(translator)
    body = unseal(data, "stream")
    try:
        header = header_in(body)
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']!r}, expected {FORMAT!r}")
        expected = fingerprint(translator)
        if header["fingerprint"] != expected:
            raise StateMismatchError(
                f"the saved stream has fingerprint {header['fingerprint'][:16]}; expected "
                f"{expected[:16]}: restore it with the checkpoint, task, chunking, decoder, policy "
                "and version that saved it"
            )
        arrays = safetensors.numpy.load(body)
        initial = translator.writer.init_state()
        source = _restored(header["source"], initial.source)
        target = source if header["target"] is None else _restored(header["target"], initial.target)
        reference = header["reference"]
        return TranslatorState(
            ListenerState(
                FrontEndState.from_bytes(arrays["front_end"].tobytes()),
                StreamState.from_bytes(arrays["encoder"].tobytes(), encoder),
                header["finished"],
            ),
            WriterState(
                source,
                target,
                policy=header["policy"],
                reference=None if reference is None else tuple(reference),
                **{name: header[name] for name in _COUNTS},
            ),
        )
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
        raise StateMismatchError(
            f"these {len(data)} bytes are not a saved stream ({error}); expected what save_stream "
            "wrote"
        ) from error


def fingerprint(translator: Translator) -> str:
    """SHA-256 of everything that a stream's continuation depends on besides its state."""
    if translator.settings is None:
        raise StateMismatchError(
            "the translator was put together by hand and cannot name its parts; expected one that "
            "build_translator made"
        )
    return hashlib.sha256(json.dumps(translator.settings, sort_keys=True).encode()).hexdigest()


def _encoder_of(translator: Translator) -> ZipformerEncoder:
    encoder = translator.listener.model.encoder
    if not isinstance(encoder, ZipformerEncoder) or not isinstance(
        translator.listener.front_end, FrontEnd
    ):
        raise StateMismatchError(
            f"streams of the encoder {encoder.config.name} cannot be saved; expected zipformer"
        )
    return encoder


def _stream_state(state: TranslatorState) -> StreamState:
    encoder = state.listener.encoder
    assert isinstance(encoder, StreamState)  # of a ZipformerEncoder
    return encoder


def _hypothesis(state: HypothesisState) -> dict[str, Any]:
    if not hasattr(state.decoder, "to_json"):
        raise StateMismatchError(
            f"the state of the search, {type(state.decoder).__name__}, cannot be saved; expected "
            "methods to_json and from_json"
        )
    return {
        "decoder": state.decoder.to_json(),
        "num_stable_tokens": state.num_stable_tokens,
        "num_tentative_tokens": state.num_tentative_tokens,
        "assembler": state.assembler.to_json(),
        "words": [[word.text, word.num_tokens, word.frame] for word in state.words],
        "tentative_words": [
            [word.text, word.num_tokens, word.frame] for word in state.tentative_words
        ],
        "num_ahead": state.num_ahead,
    }


def _restored(values: dict[str, Any], initial: HypothesisState) -> HypothesisState:
    return HypothesisState(
        decoder=type(initial.decoder).from_json(values["decoder"]),
        num_stable_tokens=values["num_stable_tokens"],
        num_tentative_tokens=values["num_tentative_tokens"],
        assembler=WordState.from_json(values["assembler"]),
        words=tuple(Word(*word) for word in values["words"]),
        tentative_words=tuple(Word(*word) for word in values["tentative_words"]),
        num_ahead=values["num_ahead"],
    )
