"""Every recording through the listener, once for each system and segment size.

Symbols: ``K`` encoder frames of the recording, ``C`` encoder channels, ``V`` CTC vocabulary.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import echostream
from echostream.decoder.generator import EncodedChunk
from echostream.errors import AudioFormatError, DataError
from echostream.session.costs import Costs
from echostream.session.listener import Listener
from echostream.whole_file import write_whole
from eval.sweep.kept import ENCODING_CODE, code_digest, digest, is_kept, write_kept
from eval.sweep.sources import Source, cuts, read_samples
from eval.sweep.system import System
from eval.sweep.work import Work

SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class EncodedSegment:
    """What one segment gave and cost."""

    audio_ms: float
    """Audio sent so far, this segment included: SimulEval's delay."""
    costs: Costs
    """Of the stages up to the heads."""
    chunks: tuple[int, ...]
    """Encoder frames of each chunk it made complete."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """What the listener made of one recording."""

    segments: tuple[EncodedSegment, ...]
    """At least one; the last one ended the recording."""
    chunk_size: int
    """Encoder frames of a whole chunk."""
    frames: Tensor
    """``[K, C]``."""
    log_probs: dict[str, Tensor]
    """``[K, V]`` of each head."""

    def chunks(self) -> Iterator[tuple[EncodedSegment, list[EncodedChunk]]]:
        """The segments, each with the chunks that it made complete."""
        start = 0
        for segment in self.segments:
            chunks = []
            for size in segment.chunks:
                part = slice(start, start + size)
                log_probs = {head: tensor[part] for head, tensor in self.log_probs.items()}
                whole = size == self.chunk_size
                chunks.append(EncodedChunk(self.frames[part], log_probs, is_whole=whole))
                start += size
            yield segment, chunks


@dataclass(frozen=True)
class Encodings:
    """All recordings of a list as one system hears them; made by :func:`encode`."""

    system: System
    sources: tuple[Source, ...]
    segment_ms: int
    work: Work
    digest: str
    """Of system and segment size, not of the recordings."""

    def path(self, source: Source) -> Path:
        """The file of a recording. Recordings of the same content share one."""
        return self.work.folder / "encodings" / self.digest / f"{source.content}.safetensors"


def encode(system: System, sources: Sequence[Source], *, segment_ms: int, work: Work) -> Encodings:
    """Encode what is not there yet.

    Only whole files are left behind by an interruption; the next call goes on from there. A file
    that is damaged is made again. Other weights, chunking, segment size or code than before
    use other files.

    Args:
        system: the listener to use.
        sources: recordings, at least one.
        segment_ms: SimulEval's source segment size, at least 1.
        work: where and how.

    Raises:
        DataError: if there are no recordings, one was changed in the meantime, or a file cannot be
            written.
        ConfigError: for another segment size.
        AudioFormatError: if the front end refuses a recording; the message names it.
    """
    if not sources:
        raise DataError("there are no recordings to encode; expected at least one")
    settings = {
        "version": echostream.__version__,
        "code": code_digest(ENCODING_CODE),
        "model": system.fingerprint,
        "task": system.options.task,
        "chunking": system.chunking,
        "backend": [system.options.backend, system.options.precision],
        "segment_ms": segment_ms,
    }
    encodings = Encodings(system, tuple(sources), segment_ms, work, digest(settings))
    missing = {s.content: s for s in sources if not is_kept(encodings.path(s))}
    if missing:
        about = encodings.path(sources[0]).with_name(SETTINGS_NAME)
        write_whole(about, json.dumps(settings, indent=2) + "\n")
    job = _EncodeJob(system, segment_ms)
    # The longest first, so that no process is left with a long one at the end.
    waiting = sorted(missing.values(), key=lambda source: -source.length_ms)
    tasks = [(source, encodings.path(source)) for source in waiting]
    work.finish(job, tasks, f"encoding, chunk {system.chunk_ms} ms")
    return encodings


def encode_source(listener: Listener, source: Source, segment_ms: int) -> Encoding:
    """Push a recording through the listener in the segments that SimulEval would send.

    Raises:
        DataError: if the file was changed in the meantime.
        AudioFormatError: for audio that the front end refuses.
    """
    samples = read_samples(source)
    state = listener.init_state()
    segments: list[EncodedSegment] = []
    chunks: list[EncodedChunk] = []
    for start, end in cuts(source.num_samples, source.sample_rate, segment_ms):
        # A list, as SimulEval sends it: what it costs to convert belongs to the front end's time.
        content = samples[start:end].tolist()
        encoded, state = listener.step(
            content, source.sample_rate, state, is_final=end == source.num_samples
        )
        chunks += encoded.chunks
        sizes = tuple(len(chunk.frames) for chunk in encoded.chunks)
        segments.append(EncodedSegment(source.ms(end), dict(encoded.costs), sizes))
    nothing = torch.zeros(0, listener.encoder.output_dim)
    return Encoding(
        tuple(segments),
        state.encoder.chunk_size,
        torch.cat([nothing, *(chunk.frames.cpu() for chunk in chunks)]),
        {
            head: torch.cat([torch.zeros(0), *(chunk.log_probs[head] for chunk in chunks)])
            for head in listener.heads
        },
    )


@dataclass(frozen=True)
class _EncodeJob:
    """Encodes a recording and keeps what came of it."""

    system: System
    segment_ms: int

    def start(self) -> Callable[[tuple[Source, Path]], None]:
        listener = self.system.listener(time.process_time)

        def work(task: tuple[Source, Path]) -> None:
            source, path = task
            try:
                encoding = encode_source(listener, source, self.segment_ms)
            except AudioFormatError as error:
                raise AudioFormatError(f"{source.path}: {error}") from error
            write_kept(path, encoding)

        return work
