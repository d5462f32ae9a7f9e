"""Read a Whisper checkpoint (OpenAI, Hugging Face, CTranslate2), and write our folder of it.

OpenAI's ``.pt`` is a pickle. It is loaded with ``weights_only=True``, which builds tensors and
plain containers and refuses everything else. Sizes come from the checkpoint: all from tiny to
large are read the same way.
"""

import hashlib
import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.config import (
    MULTILINGUAL,
    AudioConfig,
    PolicyConfig,
    SystemConfig,
    TextDecoderConfig,
    WhisperEncoderConfig,
)
from echostream.constants import CHUNK_MULTIPLE, SUBSAMPLING
from echostream.decoder.text.transformer import SILENCE_STRIDE
from echostream.decoder.token_file import TokenTable, write_tokens
from echostream.encoder import registry
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper.encoder import SILENCE
from echostream.errors import CheckpointError, ConfigError
from echostream.model.checkpoint import TOKENS, load_weights, save_config_json, save_tensors
from echostream.model.difference import SILENCE_ROWS
from echostream.model.importers.ctranslate2 import read_variables
from echostream.model.importers.whisper_names import (
    DECODER,
    ENCODER,
    POSITIONS,
    check_tensors,
    own_names,
)
from echostream.model.importers.whisper_vocabulary import read_vocabulary

logger = logging.getLogger(__name__)

SUMS = {
    "tiny.en.pt": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny.pt": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en.pt": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base.pt": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en.pt": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small.pt": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en.pt": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium.pt": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
}
"""SHA-256 of OpenAI's released files; whatever has such a name is held to it."""

CT2_WEIGHTS, HF_WEIGHTS = "model.bin", "model.safetensors"

_DAMAGED = (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError)


@dataclass(frozen=True)
class Imported:
    """What EchoStream takes of a Whisper checkpoint."""

    config: SystemConfig
    tensors: dict[str, Tensor]
    """State of the whole model, in the types of the checkpoint; ``cmvn_*`` change nothing."""
    vocabulary: TokenTable


def read_whisper(path: str | Path) -> Imported:
    """Read a checkpoint.

    Args:
        path: a folder of Hugging Face or CTranslate2 as it was downloaded, or OpenAI's ``.pt``
            file (or the folder of it) with a vocabulary beside it.

    Raises:
        CheckpointError: if a file is missing, damaged, not what its name promises, or the files do
            not fit together.
    """
    path = Path(path)
    weights = _weights_of(path)
    folder = weights.parent
    settings = _settings(folder)
    heads: tuple[int | None, int | None]
    if weights.name == CT2_WEIGHTS:
        stored = read_variables(weights)
        heads = (_scalar(stored, "encoder/num_heads"), _scalar(stored, "decoder/num_heads"))
    elif weights.name == HF_WEIGHTS:
        stored = load_weights(weights)
        heads = (settings.get("encoder_attention_heads"), settings.get("decoder_attention_heads"))
    else:
        stored, dims = _read_openai(weights)
        heads = (dims.get("n_audio_head"), dims.get("n_text_head"))
    tensors = own_names(stored)
    encoder, decoder = _configurations(tensors, heads, settings, weights)
    check_tensors(tensors, encoder, decoder, weights)
    vocabulary = read_vocabulary(folder, decoder.vocab_size, settings)
    tensors["cmvn_mean"] = torch.zeros(encoder.input_dim)
    tensors["cmvn_std"] = torch.ones(encoder.input_dim)
    languages = vocabulary.languages
    is_multilingual = len(languages) > 1 and b"<|translate|>" in vocabulary.tokens
    return Imported(
        SystemConfig(
            source_language=MULTILINGUAL if is_multilingual else "en",
            source_languages=languages if is_multilingual else (),
            target_language="en",
            asr_vocab_size=0,
            st_vocab_size=0,
            audio=AudioConfig(features="whisper"),
            encoder=encoder,
            text_decoder=decoder,
            policy=PolicyConfig("alignatt", st_options={"frames": 50}),
        ),
        tensors,
        vocabulary,
    )


def _weights_of(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in (CT2_WEIGHTS, HF_WEIGHTS) if (path / name).is_file()]
    found = found or sorted(path.glob("*.pt"))
    if len(found) != 1:
        has = "is no folder" if not path.is_dir() else f"has {len(found)} of them"
        raise CheckpointError(
            f"{path} {has}; expected a folder with {CT2_WEIGHTS} (CTranslate2), {HF_WEIGHTS} "
            "(Hugging Face) or one .pt file (OpenAI)"
        )
    return found[0]


def _settings(folder: Path) -> dict[str, Any]:
    """``config.json`` and ``generation_config.json``, under Hugging Face's names."""
    values: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"it holds a {type(found).__name__}")
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}; copy it again") from error
        values |= {key: value for key, value in found.items() if value is not None}
    for theirs, ours in (("suppress_ids", "suppress"), ("suppress_ids_begin", "begin_suppress")):
        if theirs in values:
            values[f"{ours}_tokens"] = values.pop(theirs)
    for key in ("suppress_tokens", "begin_suppress_tokens"):
        listed = values.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(i, int) for i in listed):
            raise CheckpointError(f"{folder}: {key} is {listed!r}; expected a list of token ids")
    return values


def _scalar(tensors: Mapping[str, Tensor], name: str) -> int | None:
    tensor = tensors.get(name)
    return int(tensor) if tensor is not None and tensor.numel() == 1 else None


def _read_openai(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    expected = SUMS.get(path.name)
    try:
        if expected is not None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected:
                raise CheckpointError(
                    f"{path} has SHA-256 {found}; expected {expected} of OpenAI's release: copy it "
                    "again, or give it another name if it was trained further"
                )
        values = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, *_DAMAGED) as error:
        first = (str(error).splitlines() or ["it is damaged"])[0]
        raise CheckpointError(
            f"{path} is not a checkpoint of OpenAI's Whisper: {first}; only tensors and plain "
            "values are read"
        ) from error
    parts = [
        values.get(k) if isinstance(values, dict) else None for k in ("model_state_dict", "dims")
    ]
    state, dims = parts
    if (
        not isinstance(state, dict)
        or not isinstance(dims, dict)
        or not all(isinstance(tensor, Tensor) for tensor in state.values())
    ):
        raise CheckpointError(
            f"{path} lacks model_state_dict or dims; expected a checkpoint of OpenAI's Whisper"
        )
    return state, dims


def _configurations(
    tensors: Mapping[str, Tensor],
    heads: tuple[int | None, int | None],
    settings: Mapping[str, Any],
    path: Path,
) -> tuple[WhisperEncoderConfig, TextDecoderConfig]:
    """Sizes as the tensors have them; whether all fit is checked afterwards."""
    try:
        positions, channels = tensors[POSITIONS].shape
        layers = [_num_layers(tensors, half) for half in (ENCODER, DECODER)]
        numbers = [h or channels // 64 for h in heads]  # all released models have heads of 64
        encoder = WhisperEncoderConfig(
            input_dim=tensors["encoder.conv1.weight"].shape[1],
            embed_dim=channels,
            num_layers=layers[0],
            num_heads=numbers[0],
            ffn_dim=len(tensors["encoder.layers.0.ffn_in.weight"]),
            max_positions=positions,
            **_windows(positions),
        )
        decoder = TextDecoderConfig(
            vocab_size=len(tensors["text_decoder.embedding.weight"]),
            embed_dim=channels,
            num_layers=layers[1],
            num_heads=numbers[1],
            ffn_dim=len(tensors["text_decoder.layers.0.ffn_in.weight"]),
            max_tokens=len(tensors["text_decoder.positions"]),
            max_source=positions,
            alignment_heads=_alignment_heads(settings, layers[1], numbers[1]),
        )
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not hold a Whisper model: its sizes cannot be told ({error!r})"
        ) from error
    except ConfigError as error:
        raise CheckpointError(f"{path} does not hold a usable Whisper model: {error}") from error
    return encoder, decoder


def _num_layers(tensors: Mapping[str, Tensor], half: str) -> int:
    return sum(name.startswith(half) and name.endswith(".ffn_in.weight") for name in tensors)


def _windows(positions: int) -> dict[str, Any]:
    """Smaller windows of the encoder for a model of fewer positions than all released ones have."""
    standard = WhisperEncoderConfig()
    if positions >= standard.window_stride + standard.window_overlap:
        return {}
    fifth = positions // 5 // CHUNK_MULTIPLE * CHUNK_MULTIPLE
    return {"chunk_size": CHUNK_MULTIPLE, "window_stride": 3 * fifth, "window_overlap": fifth}


def _alignment_heads(
    settings: Mapping[str, Any], layers: int, heads: int
) -> tuple[tuple[int, int], ...]:
    """Those that the checkpoint names, or all of the upper half, as OpenAI's code has it."""
    listed = settings.get("alignment_heads")
    if listed:
        return tuple((int(layer), int(head)) for layer, head in listed)
    return tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))


def write_folder(imported: Imported, folder: str | Path) -> None:
    """Weights as float16, configuration and vocabulary.

    Raises:
        CheckpointError: if a weight is too large for float16.
        DataError: if a file cannot be written.
    """
    folder = Path(folder)
    write_tokens(imported.vocabulary, folder / TOKENS)
    tensors = {**imported.tensors, SILENCE_ROWS: silence_rows(imported)}
    save_tensors(tensors, folder, dtype=torch.float16)
    save_config_json(imported.config, folder)


@torch.no_grad()
def silence_rows(imported: Imported) -> Tensor:
    """What the text decoder sees after the end of what was heard, ``[R, C]``: the encoder's output
    for 30 s of silence."""
    config = imported.config.encoder
    encoder = registry.create(config)
    encoder.load_state_dict(
        {
            name.removeprefix(ENCODER): tensor.float()
            for name, tensor in imported.tensors.items()
            if name.startswith(ENCODER)
        },
        # What adaptation adds is zero and not in a checkpoint.
        strict=False,
    )
    frames = len(imported.tensors[POSITIONS])
    silence = torch.full((1, SUBSAMPLING * frames, encoder.input_dim), SILENCE)
    encoded = encoder.eval()(silence, chunk_size=WHOLE_RECORDING)["encoder_out"][0]
    return encoded[::SILENCE_STRIDE].contiguous()
