"""The encoder that is adapted."""

from __future__ import annotations

from pathlib import Path

from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import CheckpointError
from echostream.model import load_model


def base_encoder(checkpoint: Path) -> WhisperEncoder:
    """The encoder of a checkpoint folder, in evaluation mode.

    Raises:
        CheckpointError: if it is not Whisper's.
    """
    encoder = load_model(checkpoint).encoder
    if not isinstance(encoder, WhisperEncoder):
        raise CheckpointError(
            f"the encoder of {checkpoint} is a {type(encoder).__name__}; expected Whisper's, as "
            "`echostream fetch whisper-base` and `echostream import-whisper` write it"
        )
    return encoder
