"""Checkpoints: a folder with weights, configuration and vocabularies.

model.safetensors   weights; never a pickle, so loading cannot run code
difference.safetensors   or, in its place, what differs from another checkpoint
config.json         the SystemConfig
source.model        SentencePiece model of the transcript
target.model        SentencePiece model of the translation
source.ngram        language model over the units of the transcript, if there is one
target.ngram        the same of the translation
tokens.json         vocabulary of the text decoder, in a system that has one
"""

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from echostream.config import SystemConfig, from_mapping, to_mapping
from echostream.errors import CheckpointError
from echostream.locations import find_checkpoint
from echostream.model.difference import FILE as DIFFERENCE
from echostream.model.difference import (
    SILENCE_ROWS,
    Factors,
    base_of,
    has_difference,
    read_difference,
    write_difference,
)
from echostream.model.fitting import check_fit
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

OPTIONAL = ("encoder.position_mean", "text_decoder.source_positions", SILENCE_ROWS)
"""Tensors that Whisper does not have; a checkpoint without them has zeros there."""


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
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    return from_mapping(SystemConfig, values)


def load_model(folder: str | Path, device: torch.device | str = "cpu") -> SpeechModel:
    """The model of a checkpoint folder, in evaluation mode, float32.

    Args:
        folder: a path, or the name of a shipped or fetched checkpoint; nothing is fetched.
        device: where the model goes.

    Raises:
        CheckpointError: if the weights are missing, damaged, not finite, or do not fit the
            configuration.
        ConfigError: if the configuration is wrong in itself.
    """
    folder = find_checkpoint(folder)
    config = load_config_json(folder)
    tensors, path = _load_tensors(folder)
    model = SpeechModel(config)
    expected = model.state_dict()
    tensors |= {
        name: torch.zeros_like(expected[name])
        for name in OPTIONAL
        if name in expected and name not in tensors
    }
    check_fit(tensors, expected, f"{path} does not fit {CONFIG} beside it")
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


def save_difference(
    model: SpeechModel,
    base: str | Path,
    folder: str | Path,
    *,
    exact: Collection[str] = (),
    low_rank: Mapping[str, Factors] | None = None,
) -> None:
    """Write configuration and weights as a difference from the checkpoint ``base``.

    The name of ``base``'s folder is what it is found by. ``exact`` names tensors that are stored
    whole, ``low_rank`` gives changes as factors, which come on top of the model's weights; see
    :func:`echostream.model.difference.write_difference`.

    Raises:
        CheckpointError: if the base has no weights of its own, or a weight is not finite.
        DataError: if it cannot be written.
    """
    base = find_checkpoint(base)
    if has_difference(base):
        raise CheckpointError(
            f"the checkpoint {base} stands on another itself; expected one with a {WEIGHTS}"
        )
    tensors, _ = _load_tensors(base)
    state, name = model.state_dict(), base.resolve().name
    write_difference(state, tensors, name, folder, exact=exact, low_rank=low_rank)
    save_config_json(model.config, folder)


def tokens_path(folder: str | Path) -> Path:
    """The text decoder's vocabulary: the folder's own, or that of its base."""
    path = Path(folder) / TOKENS
    return base_of(folder) / TOKENS if not path.exists() and has_difference(folder) else path


def _load_tensors(folder: Path) -> tuple[dict[str, torch.Tensor], Path]:
    """The weights of a folder, and the file they are from."""
    path = folder / WEIGHTS
    if not path.exists() and has_difference(folder):
        return read_difference(folder), folder / DIFFERENCE
    return load_weights(path), path


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"cannot load the weights {path}: {error}; expected a complete safetensors file, copy "
            "the checkpoint again"
        ) from error
