"""From an adaptation run to a checkpoint that stands on Whisper's.

Symbols: ``T`` encoder frames, ``C`` channels.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from echostream.decoder.text.transformer import SILENCE_STRIDE, TransformerDecoder
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper import WhisperEncoder
from echostream.encoder.whisper.encoder import SILENCE
from echostream.model import load_model
from echostream.model.checkpoint import save_difference
from echostream.training.adaptation.encoder import adapted_weights, base_encoder
from echostream.training.adaptation.low_rank import low_rank_factors
from echostream.training.adaptation.teacher import Teacher
from echostream.training.adaptation.windows import Recordings, WindowMaker

logger = logging.getLogger(__name__)

POSITION_WINDOWS = 40
"""Windows that the mean of each position is taken over."""
_SMOOTH = 25
"""Neighbouring positions that a mean is taken over too, since windows are few."""

EXACT = ("text_decoder.silence",)
"""Tensors that are stored whole. The two tables of positions are rounded alike, so that what the
encoder takes out is what the decoder puts back."""


def export_adaptation(
    run: Path, checkpoint: Path, recordings: Recordings, output: Path, *, seed: int = 1
) -> None:
    """Write what a run adapted as a difference from the checkpoint that it started from.

    The mean of the output at each position is found, taken out of the encoder's output, and given
    to the decoder, which puts it back wherever a frame stands in its view of the source.

    Raises:
        CheckpointError: if the run has no checkpoint.
    """
    model = load_model(checkpoint)
    encoder, decoder = model.encoder, model.text_decoder
    assert isinstance(encoder, WhisperEncoder) and isinstance(decoder, TransformerDecoder)
    original = base_encoder(checkpoint)
    encoder.load_state_dict(adapted_weights(run, "encoder."))
    encoder.eval()
    table = position_means(encoder, WindowMaker(recordings.train, seed + 1))
    encoder.position_mean.copy_(table)
    decoder.source_positions.copy_(table)
    decoder.silence.copy_(silence_of(original) - table[::SILENCE_STRIDE])
    output.mkdir(parents=True, exist_ok=True)
    factors = low_rank_factors(adapted_weights(run, "decoder."))
    low_rank = {f"text_decoder.{name}": pair for name, pair in factors.items()}
    save_difference(model, checkpoint, output, exact=EXACT, low_rank=low_rank)
    logger.info("%s stands on %s", output, checkpoint)


@torch.no_grad()
def position_means(encoder: WhisperEncoder, maker: WindowMaker) -> Tensor:
    """The mean output ``[max_positions, C]`` at each position, over speech of many windows."""
    config = encoder.config
    teacher = Teacher(encoder, config.window_stride + config.window_overlap)
    encoder.position_mean.zero_()
    sums = torch.zeros(teacher.frames, config.embed_dim)
    for number in tqdm(range(POSITION_WINDOWS), desc="positions", unit="window", leave=False):
        features = torch.from_numpy(teacher.features(maker(number)))[None]
        sums += encoder(features)["encoder_out"][0]
    means = (sums / POSITION_WINDOWS).T[None]
    padded = torch.nn.functional.pad(means, (_SMOOTH // 2, _SMOOTH // 2), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, _SMOOTH, stride=1)[0].T
    rest = smooth[-1:].expand(config.max_positions - len(smooth), -1)
    return torch.cat((smooth, rest))


@torch.no_grad()
def silence_of(encoder: WhisperEncoder) -> Tensor:
    """Whisper's output ``[R, C]`` for a silent window, every so many frames."""
    config = encoder.config
    features = torch.full((1, 2 * config.max_positions, config.input_dim), SILENCE)
    frames: Tensor = encoder(features, chunk_size=WHOLE_RECORDING)["encoder_out"][0]
    return frames[::SILENCE_STRIDE] + encoder.position_mean[::SILENCE_STRIDE]
