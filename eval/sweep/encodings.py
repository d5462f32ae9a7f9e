"""Level 1: every recording through the listener, once for each system and segment size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import echostream
from echostream.errors import AudioFormatError, CheckpointError, DataError
from echostream.session import SystemOptions
from echostream.whole_file import write_whole
from eval.sweep.digests import ENCODING_CODE, code_digest, digest
from eval.sweep.encoding_file import (
    Encoding,
    encode_source,
    read_encoding,
    tensor_names,
    write_encoding,
)
from eval.sweep.sources import Source, require_segment
from eval.sweep.system import System, clock_named
from eval.sweep.workers import Progress, finish, quiet, require_jobs

SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class Encodings:
    """All recordings of a list as one system hears them; made by :func:`encode`."""

    system: System
    sources: tuple[Source, ...]
    segment_ms: int
    clock: str
    folder: Path
    """Where everything is kept."""
    digest: str
    """Of system, segment size and clock, not of the recordings."""

    def path(self, source: Source) -> Path:
        """The file of a recording. Recordings of the same content share one."""
        return self.folder / "encodings" / self.digest / f"{source.content}.safetensors"

    def load(self, source: Source) -> Encoding:
        """Segments with their costs and state sizes, without frames.

        Raises:
            DataError: if the file was removed or damaged since.
        """
        return read_encoding(self.path(source))[0]


def encode(
    system: System,
    sources: Sequence[Source],
    *,
    segment_ms: int,
    folder: str | Path,
    jobs: int = 1,
    clock: str = "cpu",
    progress: Progress = quiet,
) -> Encodings:
    """Encode what is not in the folder yet.

    Only whole files are left behind by an interruption; the next call goes on from there. A file
    that is damaged is made again. Other weights, chunking, segment size, clock or code than before
    use other files.

    Args:
        system: the listener to use.
        sources: recordings.
        segment_ms: SimulEval's source segment size.
        folder: cache; may be shared by any systems and lists.
        jobs: processes to use.
        clock: ``cpu`` or ``wall``; with more than one job ``wall`` measures the waiting for each
            other, too.
        progress: shows how far it is.

    Raises:
        DataError: if there are no recordings, one was changed in the meantime, or a file cannot be
            written.
        ConfigError: for a segment size or a number of jobs below 1, or an unknown clock.
        AudioFormatError: if the front end refuses a recording; the message names it.
    """
    if not sources:
        raise DataError("there are no recordings to encode; expected at least one")
    require_segment(segment_ms)
    clock_named(clock)
    require_jobs(jobs)
    settings = {
        "format": 1,
        "version": echostream.__version__,
        "code": code_digest(ENCODING_CODE),
        "model": system.fingerprint,
        "task": system.options.task,
        "chunking": system.chunking,
        "backend": [system.options.backend, system.options.precision],
        "segment_ms": segment_ms,
        "clock": clock,
    }
    encodings = Encodings(system, tuple(sources), segment_ms, clock, Path(folder), digest(settings))
    missing = {s.content: s for s in sources if not _is_whole(encodings, s)}
    if missing:
        about = encodings.path(sources[0]).with_name(SETTINGS_NAME)
        write_whole(about, json.dumps(settings, indent=2).encode() + b"\n")
    job = _EncodeJob(system.options, system.fingerprint, segment_ms, clock, system)
    # The longest first, so that no process is left with a long one at the end.
    waiting = sorted(missing.values(), key=lambda source: -source.length_ms)
    tasks = [(source, encodings.path(source)) for source in waiting]
    finish(job, tasks, jobs, progress, f"encoding, chunk {system.chunk_ms} ms")
    return encodings


def _is_whole(encodings: Encodings, source: Source) -> bool:
    path = encodings.path(source)
    try:
        if path.exists():
            read_encoding(path, tensor_names(encodings.system.options.task))
            return True
    except DataError:
        pass
    return False


@dataclass(frozen=True)
class _EncodeJob:
    """Encodes; what goes to another process is without the model, which is loaded there."""

    options: SystemOptions
    fingerprint: str
    segment_ms: int
    clock: str
    system: System | None

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _EncodeJob,
            (self.options, self.fingerprint, self.segment_ms, self.clock, None),
        )

    def start(self) -> Callable[[tuple[Source, Path]], None]:
        system = self.system or System(self.options)
        if system.fingerprint != self.fingerprint:
            raise CheckpointError(
                f"the weights of {self.options.checkpoint or self.options.random_weights} were "
                "changed since the start; expected them to stay; run the command again"
            )
        listener = system.listener(clock_named(self.clock))

        def work(task: tuple[Source, Path]) -> None:
            source, path = task
            try:
                encoding, tensors = encode_source(listener, source, self.segment_ms)
            except AudioFormatError as error:
                raise AudioFormatError(f"{source.path}: {error}") from error
            write_encoding(path, encoding, tensors)

        return work
