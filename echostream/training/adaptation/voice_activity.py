"""A head of the text decoder that tells encoder frames with speech (voice activity detection).

It is a logistic regression on what the encoder gives anyway, so it hears through noise as well as
the encoder does. It learns from windows of mixed speech: where somebody speaks is known from the
recordings before rooms, telephones and noise are put over them.

Symbols: ``T`` encoder frames, ``C`` channels of the decoder, ``n`` samples at 16 kHz.
"""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from echostream.constants import FRAME_SHIFT_SAMPLES, SUBSAMPLING
from echostream.errors import CheckpointError
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import save_config_json, save_difference
from echostream.model.difference import extend_difference, has_difference
from echostream.training.adaptation.teacher import Teacher
from echostream.training.adaptation.windows import WINDOW_SAMPLES, Window, WindowMaker

logger = logging.getLogger(__name__)

FRAME_SAMPLES = FRAME_SHIFT_SAMPLES * SUBSAMPLING
"""Of an encoder frame, at 16 kHz."""

HEAD = "text_decoder.voice_activity."
WINDOWS = 120
"""Usually enough. Every sixth is not learned from, and tells how well the head does."""

_BELOW_PEAK_DB = 30.0
"""Frames of a recording that are quieter than its loud ones by more have no speech."""
_SHORT_PAUSE = 8
"""Frames without speech inside a word or between two, which count as speech."""
_DECAY = 1e-4


@dataclasses.dataclass(frozen=True)
class Found:
    """How well the head does on windows that it has not learned from."""

    missed: float
    """Share of frames with speech that are taken for none."""
    false: float
    """Share of frames without speech that are taken for some."""


def add_voice_activity(folder: Path, maker: WindowMaker, windows: int, output: Path) -> Found:
    """Write the checkpoint in ``folder`` with a head that tells speech to ``output``.

    One that has weights of its own becomes the base of what is written, and is not changed: other
    checkpoints may stand on it.

    Raises:
        CheckpointError: if it has no text decoder.
        DataError: if the output cannot be written.
    """
    model = load_model(folder)
    found = learn_voice_activity(model, maker, windows)
    output.mkdir(parents=True, exist_ok=True)
    if has_difference(folder):
        state = model.state_dict()
        extend_difference(folder, {name: state[name] for name in state if HEAD in name}, output)
        save_config_json(model.config, output)
    else:
        save_difference(model, folder, output)
    return found


def learn_voice_activity(model: SpeechModel, maker: WindowMaker, windows: int) -> Found:
    """Give a model a head that tells speech; see :func:`add_voice_activity`."""
    config = model.config.text_decoder
    if config is None:
        raise CheckpointError("the checkpoint has no text decoder; expected one, such as Whisper's")
    decoder = model.text_decoder
    teacher = Teacher(model.encoder, WINDOW_SAMPLES // FRAME_SAMPLES, audio=model.config.audio)
    parts = [
        _examples(model, teacher, maker.window(number))
        for number in tqdm(range(windows), desc="voice activity", unit="window", leave=False)
    ]
    held_out = parts[::6]
    learned = [part for place, part in enumerate(parts) if place % 6]
    head = _fitted(*map(torch.cat, zip(*learned, strict=True)))
    config = dataclasses.replace(config, voice_activity=True)
    decoder.config, decoder.voice_activity = config, head
    model.config = dataclasses.replace(model.config, text_decoder=config)
    frames, speech = map(torch.cat, zip(*held_out, strict=True))
    with torch.no_grad():
        said = head(frames)[:, 0] > 0
    found = Found(float((~said)[speech].float().mean()), float(said[~speech].float().mean()))
    logger.info(
        "voice activity: %.1f %% of speech missed, %.1f %% of the rest taken for it",
        100 * found.missed,
        100 * found.false,
    )
    return found


@torch.no_grad()
def _examples(model: SpeechModel, teacher: Teacher, window: Window) -> tuple[Tensor, Tensor]:
    """Frames ``[T, C]`` as the decoder gets them, and whether each has speech."""
    speech = torch.from_numpy(speech_in(window))
    features = torch.from_numpy(teacher.features(window.samples))
    normal = (features - model.cmvn_mean) / model.cmvn_std
    frames = model.encoder(normal[None])["encoder_out"][0]
    length = min(len(frames), len(speech))
    return model.text_decoder.mapped(frames[:length]), speech[:length]


def speech_in(window: Window) -> NDArray[np.bool_]:
    """``[T]`` in which encoder frames of a window somebody speaks."""
    size, count = FRAME_SAMPLES, len(window.clean) // FRAME_SAMPLES
    levels = np.sqrt((window.clean[: count * size].reshape(count, size) ** 2).mean(axis=1))
    speech = np.zeros(count, bool)
    for spoken in window.spoken:
        place = slice(spoken.begin // size, -(-spoken.end // size))
        own = levels[place]
        if own.size:
            speech[place] |= own > np.percentile(own, 95) * 10 ** (-_BELOW_PEAK_DB / 20)
    edges = np.flatnonzero(np.diff(speech.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    for (_, end), (begin, _) in zip(edges, edges[1:], strict=False):
        if begin - end <= _SHORT_PAUSE:
            speech[end:begin] = True
    return speech


def _fitted(frames: Tensor, speech: Tensor) -> nn.Linear:
    """The logistic regression of ``speech`` [T] on ``frames`` [T, C]."""
    head = nn.Linear(frames.shape[1], 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    mean, spread = frames.mean(dim=0), frames.std(dim=0) + 1e-4
    normal, wanted = (frames - mean) / spread, speech.float()
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60)

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = functional.binary_cross_entropy_with_logits(head(normal)[:, 0], wanted)
        error = error + _DECAY * head.weight.square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    with torch.no_grad():
        head.weight.div_(spread)
        head.bias.sub_(head.weight[0] @ mean)
    return head.requires_grad_(False)
