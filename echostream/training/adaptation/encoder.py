"""What is adapted, and where it stands."""

from pathlib import Path

from torch import Tensor

from echostream.config import load_config
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import CheckpointError
from echostream.model import load_model
from echostream.model.checkpoint import load_config_json
from echostream.training.adaptation.student import Student, student_system
from echostream.training.fairseq_checkpoints import FAIRSEQ, LAST, load_checkpoint


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


def student_encoder(checkpoint: Path, student: str) -> WhisperEncoder | Student:
    """What learns from the encoder of a checkpoint folder: a copy of it, or a student.

    Args:
        checkpoint: the teacher's folder.
        student: configuration of a system whose encoder the student is; empty for a copy.

    Raises:
        CheckpointError: if the teacher is not Whisper's.
        ConfigError: if the configuration is wrong, or does not fit the teacher.
    """
    base = base_encoder(checkpoint)
    if not student:
        return base
    return Student(student_system(load_config(student), load_config_json(checkpoint)), base)


def base_decoder(checkpoint: Path) -> TransformerDecoder:
    """The text decoder of a checkpoint folder, in evaluation mode.

    Raises:
        CheckpointError: if it has none.
    """
    decoder = load_model(checkpoint).text_decoder
    if decoder is None:
        raise CheckpointError(f"{checkpoint} has no text decoder; expected a Whisper checkpoint")
    return decoder


def adapted_weights(run: Path, part: str) -> dict[str, Tensor]:
    """Weights of the latest checkpoint of a run whose names begin with ``part``, without it.

    Raises:
        CheckpointError: if the run has no checkpoint.
    """
    tensors: dict[str, Tensor] = load_checkpoint(run / FAIRSEQ / LAST)["model"]
    return {
        name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)
    }
