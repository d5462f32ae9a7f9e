"""Read a checkpoint of the published StreamSpeech code.

Symbols: ``N`` SentencePiece pieces of a head, ``C`` encoder channels.

A fairseq checkpoint is a pickle. It is loaded with ``weights_only=True``, which builds tensors and
plain containers and refuses everything else; only ``argparse.Namespace`` (the training options) is
let in. What is taken: the encoder, the two CTC heads (``source_unigram_decoder``,
``ctc_target_unigram_decoder``), and the feature statistics that lie beside it. The autoregressive
text decoder, the unit decoder and the vocoder have no counterpart here.
"""

import argparse
import logging
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echostream.audio import Cmvn
from echostream.baseline.chunk_conformer import ChunkConformerEncoder
from echostream.baseline.convolution import check_streamable, conv_chunk_of
from echostream.config import ChunkConformerConfig, SystemConfig
from echostream.errors import CheckpointError, ConfigError
from echostream.model.fitting import check_fit
from echostream.model.importers.vocabulary_rows import (
    SILENT_BIAS,
    SPECIALS,
    fairseq_rows,
    load_pieces,
    own_rows,
    read_dictionary,
    reorder,
)

logger = logging.getLogger(__name__)

ENCODER = "encoder."
ASR_HEAD = "source_unigram_decoder.proj"
ST_HEAD = "ctc_target_unigram_decoder.proj"
DEFAULT_CHUNK = 8
"""The published default, 320 ms."""

_SHOWN = 10
_NAMESPACE = "argparse.Namespace"

# What torch.load raises for bytes that are no checkpoint, or a truncated one.
_DAMAGED = (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError)


@dataclass(frozen=True)
class Converted:
    """What EchoStream takes of a checkpoint; all floating-point tensors are float32."""

    config: SystemConfig
    encoder: dict[str, Tensor]
    """State dict of :class:`ChunkConformerEncoder`."""
    asr_head: dict[str, Tensor]
    """State dict of ``CtcHead``: ``projection.weight`` ``[N + 1, C]``, ``projection.bias``."""
    st_head: dict[str, Tensor]
    cmvn: Cmvn | None
    """``None`` if no statistics were given."""

    def state_dict(self) -> dict[str, Tensor]:
        """Names as in ``SpeechModel.state_dict()``; without ``cmvn_*`` if none were given."""
        parts = {"encoder": self.encoder, "asr_head": self.asr_head, "st_head": self.st_head}
        tensors = {
            f"{part}.{name}": t for part, named in parts.items() for name, t in named.items()
        }
        if self.cmvn is not None:
            tensors["cmvn_mean"] = torch.tensor(self.cmvn.mean)
            tensors["cmvn_std"] = torch.tensor(self.cmvn.std)
        return tensors


def convert(
    path: str | Path,
    *,
    source_spm: str | Path | None = None,
    target_spm: str | Path | None = None,
    source_dict: str | Path | None = None,
    target_dict: str | Path | None = None,
    gcmvn: str | Path | None = None,
    source_language: str = "fr",
    target_language: str = "en",
    chunk_size: int | None = None,
) -> Converted:
    """Read a StreamSpeech checkpoint.

    Args:
        path: the ``.pt`` file.
        source_spm: SentencePiece model of ``source_unigram``; ``None`` if its ids are fairseq's,
            as those of the released fr-en model are.
        target_spm: SentencePiece model of ``ctc_target_unigram``; likewise.
        source_dict: its fairseq dictionary; ``None`` for the one that fairseq's own script makes
            of the SentencePiece model, as the published ones are.
        target_dict: likewise.
        gcmvn: ``gcmvn.npz`` with ``mean`` and ``std``, float [80].
        source_language: for the configuration.
        target_language: for the configuration.
        chunk_size: encoder frames (40 ms) of a chunk; ``None`` for that of training if it can be
            streamed, else 8.

    Raises:
        CheckpointError: if a file is not what it should be, or the files do not fit together.
        ConfigError: if ``chunk_size`` cannot be streamed.
    """
    state = read_checkpoint(path)
    model: dict[str, Tensor] = state["model"]
    encoder = {
        name.removeprefix(ENCODER): tensor
        for name, tensor in model.items()
        if name.startswith(ENCODER)
    }
    if chunk_size is None:
        chunk_size = _trained_chunk(state)
    else:
        check_streamable(chunk_size, conv_chunk_of(chunk_size))
    config = _encoder_config(encoder, chunk_size, path)
    _check_encoder(encoder, config, path)
    asr_head, asr_size = _head(model, ASR_HEAD, config, source_spm, source_dict, path)
    st_head, st_size = _head(model, ST_HEAD, config, target_spm, target_dict, path)
    left_out = sorted({name.split(".")[0] for name in model} - {"encoder"})
    logger.info("%s: parts not taken whole: %s", path, ", ".join(left_out))
    return Converted(
        config=SystemConfig(
            source_language=source_language,
            target_language=target_language,
            asr_vocab_size=asr_size,
            st_vocab_size=st_size,
            encoder=config,
        ),
        encoder={name: _widened(name, tensor, path) for name, tensor in encoder.items()},
        asr_head=asr_head,
        st_head=st_head,
        cmvn=None if gcmvn is None else read_gcmvn(gcmvn),
    )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a fairseq checkpoint; ``["model"]`` is a dict of names to tensors.

    Raises:
        CheckpointError: if the file cannot be read, is no fairseq checkpoint, or holds objects
            other than tensors, plain values and the training options.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is not a checkpoint that torch.save wrote, or only a part of one "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); copy "
            "it again"
        ) from error
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not all(isinstance(t, Tensor) for t in model.values()):
        found = f"keys {list(state)[:_SHOWN]}" if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"{path} holds {found}; expected a fairseq checkpoint, whose 'model' holds tensors by "
            "name"
        )
    return state


def _refusal(path: str | Path, message: str) -> str:
    refused = re.search(r"GLOBAL ([\w.]+)", message)
    if refused is None:
        return (
            f"{path} is not a checkpoint that torch.save wrote, or it is damaged; expected a "
            "fairseq .pt file, copy it again"
        )
    return (
        f"{path} holds an object of {refused[1]}, which could run code when loaded and is refused; "
        f"expected tensors, plain values and {_NAMESPACE}. If you trust the file, keep only its "
        "weights with the installation that wrote it: torch.save({'model': "
        "torch.load(path, weights_only=False)['model']}, new_path)"
    )


def read_gcmvn(path: str | Path) -> Cmvn:
    """Feature statistics from fairseq's ``gcmvn.npz``; :class:`CheckpointError` if it is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Cmvn(stored["mean"], stored["std"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, ConfigError) as error:
        raise CheckpointError(
            f"{path} does not hold feature statistics ({error}); expected gcmvn.npz with the "
            "arrays mean and std"
        ) from error


def _trained_chunk(state: dict[str, Any]) -> int:
    """The attention chunk in the training options, if it can be streamed."""
    options = state.get("cfg") or state.get("args")
    options = options.get("model") if isinstance(options, dict) else options
    chunk = getattr(options, "chunk_size", None)
    if isinstance(options, dict):
        chunk = options.get("chunk_size")
    if not isinstance(chunk, int):
        return DEFAULT_CHUNK
    try:
        check_streamable(chunk, conv_chunk_of(chunk))
    except ConfigError:
        logger.warning(
            "the model was trained with chunk size %d, which cannot be streamed; the configuration "
            "gets %d. A model trained on whole recordings only will be worse in chunks",
            chunk,
            DEFAULT_CHUNK,
        )
        return DEFAULT_CHUNK
    return chunk


def _encoder_config(
    encoder: dict[str, Tensor], chunk_size: int, path: str | Path
) -> ChunkConformerConfig:
    """The encoder's sizes, read off its weights."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        found = encoder.get(name)
        if found is None or found.dim() != dimensions:
            raise CheckpointError(
                f"{path} has {ENCODER}{name} of shape "
                f"{None if found is None else tuple(found.shape)}; expected {dimensions} "
                "dimensions, as in a StreamSpeech model with a Conformer encoder (--attn-type "
                "espnet --pos-enc-type rel_pos)"
            )
        return tuple(found.shape)

    numbers = [
        int(name.split(".")[1]) for name in encoder if re.match(r"conformer_layers\.\d+\.", name)
    ]
    conv_channels, input_dim, _ = shape("subsample.conv_layers.0.weight", 3)
    layer = "conformer_layers.0."
    try:
        return ChunkConformerConfig(
            input_dim=input_dim,
            embed_dim=shape("linear.weight", 2)[0],
            ffn_dim=shape(f"{layer}ffn1.w_1.weight", 2)[0],
            num_layers=max(numbers, default=0) + 1,
            num_heads=shape(f"{layer}self_attn.pos_bias_u", 2)[0],
            conv_channels=conv_channels,
            conv_kernel=shape(f"{layer}conv_module.depthwise_conv.weight", 3)[2],
            chunk_size=chunk_size,
        )
    except ConfigError as error:
        raise CheckpointError(f"{path} has an encoder of sizes that do not fit: {error}") from error


def _check_encoder(
    encoder: dict[str, Tensor], config: ChunkConformerConfig, path: str | Path
) -> None:
    """Raise :class:`CheckpointError` unless names and shapes are those of the encoder."""
    with torch.device("meta"):
        expected = ChunkConformerEncoder.from_config(config).state_dict()
    check_fit(encoder, expected, f"{path} does not hold StreamSpeech's encoder", ENCODER)


def _head(
    model: dict[str, Tensor],
    name: str,
    config: ChunkConformerConfig,
    spm: str | Path | None,
    dictionary: str | Path | None,
    path: str | Path,
) -> tuple[dict[str, Tensor], int]:
    """A CTC head with its rows in EchoStream's order, and its number of pieces."""
    if spm is None:
        stored = model.get(f"{name}.weight")
        rows = own_rows(0 if stored is None else len(stored))
    else:
        symbols = None if dictionary is None else read_dictionary(dictionary)
        rows = fairseq_rows(load_pieces(spm), symbols)
    size = len(SPECIALS) + sum(row >= len(SPECIALS) for row in rows)
    tensors = []
    for part, expected in (("weight", (size, config.embed_dim)), ("bias", (size,))):
        tensor = model.get(f"{name}.{part}")
        if tensor is None or tuple(tensor.shape) != expected:
            raise CheckpointError(
                f"{path} has {name}.{part} of shape "
                f"{None if tensor is None else tuple(tensor.shape)}; expected {expected} for the "
                f"{size - len(SPECIALS)} pieces of {dictionary or spm or 'the head'} and fairseq's "
                f"{len(SPECIALS)} specials: give the vocabulary that the checkpoint was trained "
                "with"
            )
        tensors.append(_widened(f"{name}.{part}", tensor, path))
    head = {
        "projection.weight": reorder(tensors[0], rows, 0.0),
        "projection.bias": reorder(tensors[1], rows, SILENT_BIAS),
    }
    return head, len(rows)


def _widened(name: str, tensor: Tensor, path: str | Path) -> Tensor:
    """The tensor as float32 if it is floating-point (fp16 training stores halves)."""
    if not tensor.is_floating_point():
        return tensor.clone()
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(
            f"{name} in {path} has values that are not finite; use an earlier checkpoint"
        )
    return tensor.to(torch.float32, copy=True)
