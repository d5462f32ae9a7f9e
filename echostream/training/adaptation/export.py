"""From an adaptation run to a checkpoint that stands on Whisper's.

Symbols: ``T`` encoder frames, ``C`` channels.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor

from echostream.config import load_config
from echostream.decoder.text.transformer import SILENCE_STRIDE, TransformerDecoder
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper import WhisperEncoder
from echostream.encoder.whisper.encoder import SILENCE
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import VOCABULARIES, save_difference
from echostream.training.adaptation import voice_activity
from echostream.training.adaptation.encoder import (
    adapted_weights,
    base_encoder,
    streaming_model,
)
from echostream.training.adaptation.low_rank import low_rank_factors
from echostream.training.adaptation.student import (
    HEADS,
    Student,
    into_system,
    student_system,
)
from echostream.training.adaptation.windows import Recordings, WindowMaker
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

SOURCE_MAP = "text_decoder.source_map."

EXACT = ("text_decoder.silence",)
"""Tensors that are stored whole. The two tables of positions are rounded alike, so that what the
encoder takes out is what the decoder puts back."""


def export_adaptation(
    run: Path, checkpoint: Path, recordings: Recordings, output: Path, *, seed: int = 1
) -> None:
    """Write what a run adapted as a difference from the checkpoint that it started from.

    The mean of the output at each position, which the encoder takes out, is given to the decoder,
    which puts it back wherever a frame stands in its view of the source; and the decoder learns
    where nobody speaks.

    Raises:
        CheckpointError: if the run has no checkpoint.
    """
    model = streaming_model(checkpoint)
    encoder, decoder = model.encoder, model.text_decoder
    assert isinstance(encoder, WhisperEncoder) and isinstance(decoder, TransformerDecoder)
    original = base_encoder(checkpoint)
    encoder.load_state_dict(adapted_weights(run, "encoder."))
    encoder.eval()
    table = encoder.position_mean
    decoder.source_positions.copy_(table)
    decoder.silence.copy_(silence_of(original) - table[::SILENCE_STRIDE])
    maker = WindowMaker(recordings.train, seed + 2)
    voice_activity.learn_voice_activity(model, maker, voice_activity.WINDOWS)
    _save(run, model, checkpoint, output, EXACT)


@torch.no_grad()
def export_student(run: Path, checkpoint: Path, system: Path, output: Path) -> None:
    """Write a student with its teacher's decoder, as a difference from the teacher.

    Args:
        run: of the first or the second stage.
        checkpoint: the teacher's folder.
        system: configuration whose encoder the student is.
        output: folder of the checkpoint.

    Raises:
        CheckpointError: if the run has no checkpoint.
        ConfigError: if the student does not fit the teacher.
    """
    teacher = load_model(checkpoint)
    original = base_encoder(checkpoint)
    weights = adapted_weights(run, "encoder.")
    with_heads = any(name.startswith(HEADS) for name in weights)
    config = student_system(load_config(system), teacher.config, with_heads=with_heads)
    model = SpeechModel(config).eval()
    student = Student(config, original)
    student.load_state_dict(weights)
    model.text_decoder.load_state_dict(teacher.text_decoder.state_dict(), strict=False)
    into_system(student, model)
    table = model.text_decoder.source_positions
    model.text_decoder.silence.copy_(silence_of(original) - table[::SILENCE_STRIDE])
    own = ("encoder.", SOURCE_MAP, *(f"{head}_head." for head in model.heads))
    whole = [name for name in model.state_dict() if name.startswith(own)]
    _save(run, model, checkpoint, output, (*EXACT, *whole))
    for head in model.heads:
        if output != run:
            write_whole(output / VOCABULARIES[head], (run / VOCABULARIES[head]).read_bytes())


def _save(
    run: Path, model: SpeechModel, checkpoint: Path, output: Path, exact: tuple[str, ...]
) -> None:
    """With the changes of low rank that the run has learned for the decoder."""
    output.mkdir(parents=True, exist_ok=True)
    factors = low_rank_factors(adapted_weights(run, "decoder."))
    low_rank = {f"text_decoder.{name}": pair for name, pair in factors.items()}
    save_difference(model, checkpoint, output, exact=exact, low_rank=low_rank)
    logger.info("%s stands on %s", output, checkpoint)


@torch.no_grad()
def silence_of(encoder: WhisperEncoder) -> Tensor:
    """Whisper's output ``[R, C]`` for a silent window, every so many frames."""
    config = encoder.config
    features = torch.full((1, 2 * config.max_positions, config.input_dim), SILENCE)
    frames: Tensor = encoder(features, chunk_size=WHOLE_RECORDING)["encoder_out"][0]
    return frames[::SILENCE_STRIDE] + encoder.position_mean[::SILENCE_STRIDE]
