"""What the listener made of one recording, kept in a file.

Symbols: ``K`` encoder frames of the recording, ``C`` encoder channels, ``V`` CTC vocabulary.

The file is safetensors, float32, with a JSON header. Header and tensors carry checksums, and a
tensor is only read when it is wanted: a replay needs the frames, not the log-probabilities.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from echostream.decoder.generator import EncodedChunk
from echostream.errors import DataError
from echostream.saved_state import metadata_of
from echostream.session.costs import Costs
from echostream.session.listener import Listener
from echostream.whole_file import write_whole
from eval.sweep.sources import Source, cuts, read_samples

FORMAT = "echostream-encoding-3"
FRAMES = "frames"
"""``[K, C]``."""
SOURCE_LOG_PROBS = "source_log_probs"
"""``[K, V]`` of the ASR head."""
TARGET_LOG_PROBS = "target_log_probs"
"""``[K, V]`` of the ST head; not there for task ``asr``."""


@dataclass(frozen=True)
class EncodedSegment:
    """What one segment gave and cost."""

    audio_ms: float
    """Audio sent so far, this segment included: SimulEval's delay."""
    costs: Costs
    """Of the stages up to the heads."""
    state_nbytes: int
    """Encoder state after it."""
    chunks: tuple[int, ...]
    """Encoder frames of each chunk it made complete."""


@dataclass(frozen=True)
class Encoding:
    """One recording, without the tensors."""

    segments: tuple[EncodedSegment, ...]
    """At least one; the last one ended the recording."""
    chunk_size: int
    """Encoder frames of a whole chunk."""

    def split(self, tensor: Tensor) -> Iterator[tuple[EncodedSegment, tuple[Tensor, ...]]]:
        """``[K, ...]`` cut into chunks, for each segment those that it made complete."""
        position = 0
        for segment in self.segments:
            size = sum(segment.chunks)
            part = tensor[position : position + size]
            position += size
            yield segment, part.split(segment.chunks) if segment.chunks else ()


def encode_source(
    listener: Listener, source: Source, segment_ms: int
) -> tuple[Encoding, dict[str, Tensor]]:
    """Push a recording through the listener in the segments that SimulEval would send.

    Returns the record and the tensors :data:`FRAMES`, :data:`SOURCE_LOG_PROBS` and, for task
    ``s2tt``, :data:`TARGET_LOG_PROBS`.

    Raises:
        DataError: if the file was changed in the meantime.
        AudioFormatError: for audio that the front end refuses; the message names the file.
    """
    samples = read_samples(source)
    state = listener.init_state()
    segments: list[EncodedSegment] = []
    chunks: list[EncodedChunk] = []
    for cut in cuts(source.num_samples, source.sample_rate, segment_ms):
        # A list, as SimulEval sends it: what it costs to convert belongs to the front end's time.
        content = samples[cut.start : cut.end].tolist()
        encoded, state = listener.step(content, source.sample_rate, state, is_final=cut.is_final)
        chunks.extend(encoded.chunks)
        segments.append(
            EncodedSegment(
                audio_ms=source.ms(cut.end),
                costs=encoded.costs,
                state_nbytes=state.encoder.nbytes,
                chunks=tuple(len(chunk.frames) for chunk in encoded.chunks),
            )
        )
    config = listener.model.config
    nothing = {
        FRAMES: torch.zeros(0, listener.encoder.output_dim),
        SOURCE_LOG_PROBS: torch.zeros(0, config.asr_vocab_size),
        TARGET_LOG_PROBS: torch.zeros(0, config.st_vocab_size),
    }
    tensors = {
        FRAMES: [chunk.frames.cpu() for chunk in chunks],
        SOURCE_LOG_PROBS: [chunk.log_probs["asr"] for chunk in chunks],
        TARGET_LOG_PROBS: [chunk.log_probs["st"] for chunk in chunks if "st" in chunk.log_probs],
    }
    if "st" not in listener.heads:
        del tensors[TARGET_LOG_PROBS]
    joined = {name: torch.cat(parts) if parts else nothing[name] for name, parts in tensors.items()}
    return Encoding(tuple(segments), state.encoder.chunk_size), joined


def write_encoding(path: Path, encoding: Encoding, tensors: dict[str, Tensor]) -> None:
    """Keep a recording; DataError if the file cannot be written."""
    content = {
        "format": FORMAT,
        "chunk_size": encoding.chunk_size,
        "segments": [
            [segment.audio_ms, dict(segment.costs), segment.state_nbytes, *segment.chunks]
            for segment in encoding.segments
        ],
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    header = {"content": content, "checksum": _text_checksum(content)}
    write_whole(path, safetensors.torch.save(tensors, metadata=metadata_of(header)))


def read_encoding(path: Path, wanted: tuple[str, ...] = ()) -> tuple[Encoding, dict[str, Tensor]]:
    """The recording of a file, and the tensors that were asked for by name.

    Raises:
        DataError: if the file is missing, damaged or something else.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            (text,) = (file.metadata() or {}).values()
            header = json.loads(text)
            content = header["content"]
            if content["format"] != FORMAT or header["checksum"] != _text_checksum(content):
                raise ValueError("its header is altered or of another format")
            # Copies: the tensors themselves are maps of the file, and reading one ends the process
            # if the file has become shorter.
            tensors = {name: file.get_tensor(name).clone() for name in wanted}
        for name, tensor in tensors.items():
            if content["checksums"][name] != _checksum(tensor):
                raise ValueError(f"{name} is altered")
        return Encoding(tuple(map(_segment, content["segments"])), content["chunk_size"]), tensors
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: is not a whole encoding ({error}); expected what was kept of a recording; "
            "run the same command again, which encodes it anew"
        ) from error


def tensor_names(task: str) -> tuple[str, ...]:
    """The tensors of a file."""
    both = (FRAMES, SOURCE_LOG_PROBS)
    return both if task == "asr" else (*both, TARGET_LOG_PROBS)


def _segment(row: list[Any]) -> EncodedSegment:
    audio_ms, costs, nbytes, *chunks = row
    return EncodedSegment(audio_ms, costs, nbytes, tuple(chunks))


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().numpy().data)


def _text_checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
