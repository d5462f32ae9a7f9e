"""Checkpoints: a folder with weights, configuration and vocabularies.

model.safetensors   weights; never a pickle, so loading cannot run code
config.json         the SystemConfig
source.model        SentencePiece model of the transcript
target.model        SentencePiece model of the translation
source.ngram        language model over the units of the transcript, if there is one
target.ngram        the same of the translation
tokens.json         vocabulary of the text decoder, in a system that has one
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from echostream.config import SystemConfig, from_mapping, to_mapping
from echostream.errors import CheckpointError
from echostream.model.speech_model import SpeechModel
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
SOURCE_VOCABULARY = "source.model"
TARGET_VOCABULARY = "target.model"
SOURCE_NGRAM = "source.ngram"
TARGET_NGRAM = "target.ngram"
TOKENS = "tokens.json"

VOCABULARIES = {"asr": SOURCE_VOCABULARY, "st": TARGET_VOCABULARY}
"""By head."""
NGRAMS = {"asr": SOURCE_NGRAM, "st": TARGET_NGRAM}

_SHOWN = 10
"""How many misfitting tensors an error message lists."""


def save_model(
    model: SpeechModel, folder: str | Path, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and configuration; the vocabularies are the caller's to copy.

    ``dtype`` is that of the stored weights; float16 halves the file and is widened when loaded.
    The CMVN statistics stay float32.
    """
    save_tensors(model.state_dict(), folder, dtype=dtype)
    save_config_json(model.config, folder)


def save_tensors(
    state: Mapping[str, torch.Tensor], folder: str | Path, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights alone, as :func:`save_model` does."""
    tensors = {
        name: _stored(name, tensor.detach().cpu(), dtype).contiguous()
        for name, tensor in state.items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name} has values that are not finite as {tensor.dtype}; nothing was saved. If "
                "the weights themselves are finite, save them as float32"
            )
    path = Path(folder) / WEIGHTS
    write_whole(path, safetensors.torch.save(tensors, metadata={"format": "pt"}))


def save_config_json(config: SystemConfig, folder: str | Path) -> None:
    """Write the configuration of a checkpoint folder."""
    write_whole(Path(folder) / CONFIG, json.dumps(to_mapping(config), indent=2).encode() + b"\n")


def _stored(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor  # counters of batch normalisation
    return tensor.to(torch.float32 if "cmvn" in name else dtype)


def load_config_json(folder: str | Path) -> SystemConfig:
    """The configuration of a checkpoint folder."""
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}; expected a checkpoint folder with {CONFIG}, "
            f"{WEIGHTS}, {SOURCE_VOCABULARY} and {TARGET_VOCABULARY}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    return from_mapping(SystemConfig, values)


def load_model(folder: str | Path, device: torch.device | str = "cpu") -> SpeechModel:
    """The model of a checkpoint folder, in evaluation mode, float32.

    Raises:
        CheckpointError: if the weights are missing, damaged, not finite, or do not fit the
            configuration.
        ConfigError: if the configuration is wrong in itself.
    """
    config = load_config_json(folder)
    path = Path(folder) / WEIGHTS
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"cannot load the weights {path}: {error}; expected a complete safetensors file, copy "
            "the checkpoint again"
        ) from error
    model = SpeechModel(config)
    expected = model.state_dict()
    misfits = [f"missing {name}" for name in expected if name not in tensors]
    misfits += [f"unexpected {name}" for name in tensors if name not in expected]
    misfits += [
        f"{name}: found {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if misfits:
        more = f" and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise CheckpointError(
            f"{path} does not fit {CONFIG} beside it: {'; '.join(misfits[:_SHOWN])}{more}"
        )
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name} in {path} has values that are not finite; the training run that wrote it "
                "had diverged, use an earlier checkpoint"
            )
    widened = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    model.load_state_dict(widened)
    logger.info("loaded %s: %.2fM parameters", folder, model.num_parameters / 1e6)
    return model.to(device).eval()
