"""What is adapted, and where it stands."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from echostream.baseline.chunk_conformer import BRANCH_SCALE, ChunkConformerEncoder
from echostream.config import load_config
from echostream.config_whisper import WhisperEncoderConfig
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import CheckpointError
from echostream.locations import find_checkpoint
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import load_config_json
from echostream.model.difference import has_difference, low_rank_changes
from echostream.training.adaptation.growth import grow
from echostream.training.adaptation.low_rank import take_factors
from echostream.training.adaptation.student import HEADS, Student, from_system, student_system
from echostream.training.adaptation.whisper_student import WhisperStudent
from echostream.training.fairseq_checkpoints import AVERAGE, FAIRSEQ, LAST, load_checkpoint

RIGHT_CONTEXT = 16
"""Encoder frames behind a chunk that an adapted encoder sees: 320 ms."""


def streaming_model(checkpoint: Path) -> SpeechModel:
    """The model of a Whisper checkpoint with the right context of an adapted one.

    Raises:
        CheckpointError: if its encoder is not Whisper's.
    """
    model = _whisper(checkpoint)
    config = model.config.encoder
    assert isinstance(config, WhisperEncoderConfig)
    room = config.max_positions - config.window_stride - config.window_overlap
    wider = dataclasses.replace(config, right_context=min(RIGHT_CONTEXT, room))
    other = SpeechModel(dataclasses.replace(model.config, encoder=wider))
    other.load_state_dict(model.state_dict())
    return other.eval()


def base_encoder(checkpoint: Path) -> WhisperEncoder:
    """The encoder of a checkpoint folder, in evaluation mode.

    Raises:
        CheckpointError: if it is not Whisper's.
    """
    encoder: WhisperEncoder = _whisper(checkpoint).encoder
    return encoder


def _whisper(checkpoint: Path) -> SpeechModel:
    model = load_model(checkpoint)
    if not isinstance(model.encoder, WhisperEncoder):
        raise CheckpointError(
            f"the encoder of {checkpoint} is a {type(model.encoder).__name__}; expected Whisper's, "
            "as `echostream fetch whisper-base` and `echostream import-whisper` write it"
        )
    return model


def student_encoder(
    checkpoint: Path, student: str, *, with_heads: bool = False, grown_from: str = ""
) -> WhisperStudent | Student:
    """What learns from the encoder of a checkpoint folder: a copy of it, or a student.

    Args:
        checkpoint: the teacher's folder.
        student: configuration of a system whose encoder the student is; empty for a copy.
        with_heads: whether its CTC heads learn, too.
        grown_from: checkpoint of a smaller encoder, whose weights the student starts with.

    Raises:
        CheckpointError: if the teacher is not Whisper's.
        ConfigError: if the configuration is wrong, or does not fit the teacher or the smaller
            encoder.
    """
    if not student:
        encoder = streaming_model(checkpoint).encoder
        copy = WhisperStudent(**encoder.config.options)
        copy.load_state_dict(encoder.state_dict())
        return copy
    own, teacher = load_config(student), load_config_json(checkpoint)
    made = Student(student_system(own, teacher, with_heads=with_heads), base_encoder(checkpoint))
    if isinstance(made.encoder, ChunkConformerEncoder):
        made.encoder.shrink_branches(BRANCH_SCALE)
    if grown_from:
        grow(made, load_model(grown_from))
    return made


def base_decoder(checkpoint: Path) -> TransformerDecoder:
    """The text decoder of a checkpoint folder, in evaluation mode.

    Raises:
        CheckpointError: if it has none.
    """
    decoder = load_model(checkpoint).text_decoder
    if decoder is None:
        raise CheckpointError(f"{checkpoint} has no text decoder; expected a Whisper checkpoint")
    return decoder


def go_on_from(source: str, encoder: WhisperStudent | Student, decoder: TransformerDecoder) -> None:
    """Give encoder and decoder the weights of a run, or of a checkpoint that one has left.

    Args:
        source: folder of a run of either stage, or a checkpoint's folder or name.
        encoder: of :func:`student_encoder`.
        decoder: with changes of low rank.

    Raises:
        CheckpointError: if it is neither, or has taught another encoder.
    """
    run = Path(source)
    if (run / FAIRSEQ).is_dir():
        _take(adapted_weights(run, "encoder."), encoder, source)
        if weights := adapted_weights(run, "decoder."):
            decoder.load_state_dict(weights)
        return
    folder = find_checkpoint(source)
    if not has_difference(folder):
        raise CheckpointError(
            f"{source} is no run and no checkpoint that adaptation has left; expected one of them"
        )
    model = load_model(folder)
    had_map = hasattr(model.text_decoder, "source_map") and isinstance(encoder, Student)
    _take(from_system(model) if had_map else model.encoder.state_dict(), encoder, source)
    factors = low_rank_changes(folder)
    take_factors(decoder, {k.removeprefix("text_decoder."): own for k, own in factors.items()})


def _take(weights: Mapping[str, Tensor], encoder: WhisperStudent | Student, source: str) -> None:
    # The heads of a student that had no texts to learn from begin at random.
    own = encoder.state_dict()
    heads = {k: v for k, v in own.items() if k.startswith(HEADS) and k not in weights}
    try:
        encoder.load_state_dict({**weights, **heads})
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} has taught another encoder ({error}); expected one with the same "
            "configuration"
        ) from error


def adapted_weights(run: Path, part: str) -> dict[str, Tensor]:
    """Averaged weights of the latest checkpoint of a run whose names begin with ``part``, without
    it.

    Raises:
        CheckpointError: if the run has no checkpoint.
    """
    saved = load_checkpoint(run / FAIRSEQ / LAST)
    tensors: dict[str, Tensor] = saved["model"]
    for own in saved["extra_state"].values():
        if isinstance(own, dict) and AVERAGE in own:
            tensors |= own[AVERAGE]
    return {
        name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)
    }
