"""A small random checkpoint whose heads say something, and made-up audio."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.audio import Cmvn, FrontEnd
from echostream.config import ChunkConformerConfig, EncoderConfig, SystemConfig, save_config
from echostream.config_whisper import TextDecoderConfig, WhisperEncoderConfig
from echostream.constants import SAMPLE_RATE
from echostream.decoder.token_file import write_tokens
from echostream.model import SpeechModel, save_model
from echostream.model.checkpoint import TOKENS
from echostream.training.preparation import vocabulary
from tests.decoder.text.small_vocabulary import tokenizer

WORDS = "the cat sat on a mat and then it ran home over old red hills with my dog".split()  # noqa: SIM905
SENTENCES = [" ".join(WORDS[i : i + 5]) for i in range(len(WORDS) - 5)] * 3

ENCODER = EncoderConfig(
    embed_dim=(16, 16, 24, 24, 24, 16),
    num_heads=2,
    ffn_dim=32,
    num_layers_per_stack=1,
    stem_channels=(2, 4, 4),
    query_head_dim=8,
    memory_dim=16,
    left_context=64,
    max_future_frames=None,
)
CONFORMER = ChunkConformerConfig(
    embed_dim=16, ffn_dim=32, num_layers=1, num_heads=2, conv_channels=16, conv_kernel=7
)


WHISPER = SystemConfig(
    asr_vocab_size=0,
    st_vocab_size=0,
    encoder=WhisperEncoderConfig(embed_dim=16, num_layers=1, num_heads=2, ffn_dim=16),
    text_decoder=TextDecoderConfig(
        vocab_size=tokenizer().vocab_size, embed_dim=16, num_layers=1, num_heads=2, ffn_dim=16
    ),
)


def make_whisper(folder: Path, config: SystemConfig = WHISPER) -> None:
    """A checkpoint of Whisper's kind with random weights and a vocabulary of a few words."""
    torch.manual_seed(0)
    save_model(SpeechModel(config), folder)
    write_tokens(tokenizer().table, folder / TOKENS)


def make_baseline(folder: Path) -> str:
    """A configuration of a small baseline, for random weights."""
    encoder = dataclasses.replace(CONFORMER, num_layers=2)
    path = folder / "small.yaml"
    save_config(SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=encoder), path)
    return str(path)


def make_checkpoint(folder: Path) -> None:
    """Its greedy output changes every few frames, so there are words."""
    torch.manual_seed(3)
    config = SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=ENCODER)
    vocabulary(folder / "source.model", SENTENCES, 30)
    vocabulary(folder / "target.model", SENTENCES, 30)
    model = SpeechModel(config).eval()
    front_end = FrontEnd(None)
    features, _ = front_end.step(audio(20.0, seed=99), SAMPLE_RATE, front_end.init_state())
    model.set_cmvn(Cmvn.estimate([features]))
    with torch.no_grad():
        frames = model.encoder(torch.from_numpy(model.cmvn(features))[None])["encoder_out"][0]
        # Heads that look at what changes, since untrained frames are nearly all alike.
        for head in (model.asr_head, model.st_head):
            head.projection.weight.normal_(0.0, 1.0).div_(frames.std(dim=0))
            head.projection.bias.copy_(-head.projection.weight @ frames.mean(dim=0))
    save_model(model, folder)


def audio(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose loudness and colour change several times a second, as in speech."""
    chance = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    parts = []
    while sum(map(len, parts)) < length:
        noise = chance.standard_normal(int(chance.integers(800, 3200)))
        width = int(chance.integers(1, 40))
        parts.append(np.convolve(noise, np.ones(width) / width, "same") * chance.uniform(0.01, 0.5))
    samples: NDArray[np.float32] = np.concatenate(parts or [np.zeros(0)])[:length]
    return np.clip(samples, -1, 1).astype(np.float32)
