"""Level 2: the CTC searches, once for each decoder setting, and decoders that repeat them.

A search does not depend on the policy, so what it found after each chunk is kept as it is. On a
replay :class:`RecordedDecoder` gives it out again, and moves the clock by what it had cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from echostream.decoder import Decoder, DecoderOutput, Token
from echostream.errors import DataError
from echostream.session.costs import Clock
from echostream.whole_file import write_whole
from eval.sweep.digests import SEARCH_CODE, code_digest, digest
from eval.sweep.encoding_file import read_encoding, tensor_names
from eval.sweep.encodings import Encodings
from eval.sweep.sources import Source
from eval.sweep.system import System, clock_named
from eval.sweep.workers import Progress, finish, quiet

FORMAT = "echostream-search-1"


@dataclass(frozen=True)
class SearchRecord:
    """What the search behind one head found in one recording."""

    outputs: tuple[DecoderOutput, ...]
    """After each chunk, and at last after the flush."""
    seconds: tuple[float, ...]
    """What each of them cost."""


@dataclass(frozen=True)
class Searches:
    """The results of one decoder setting for all recordings; made by :func:`search`."""

    encodings: Encodings
    system: System
    digest: str
    """Of encodings and decoder settings."""

    def path(self, source: Source) -> Path:
        """The file of a recording."""
        return self.encodings.folder / "searches" / self.digest / f"{source.content}.json"

    def load(self, source: Source) -> tuple[SearchRecord, ...]:
        """Of the ASR head, and of the ST head unless the task is ``asr``.

        Raises:
            DataError: if the file was removed or damaged since.
        """
        return read_records(self.path(source))


class MovableClock:
    """A clock that can be moved on by time that was spent earlier."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._added = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self._clock() + self._added

    def add(self, seconds: float) -> None:
        """Let time pass."""
        self._added += seconds


class RecordedDecoder:
    """A decoder that found everything before; its state is the number of the next output.

    Args:
        record: what there is to give out.
        clock: moved on by what it had cost.
    """

    def __init__(self, record: SearchRecord, clock: MovableClock) -> None:
        self._record = record
        self._clock = clock

    def init_state(self) -> int:
        """The start of the recording."""
        return 0

    def step(self, log_probs: Tensor, state: int) -> tuple[DecoderOutput, int]:
        """What the search found after the next chunk; ``log_probs`` is not looked at."""
        self._clock.add(self._record.seconds[state])
        return self._record.outputs[state], state + 1

    def flush(self, state: int) -> tuple[DecoderOutput, int]:
        """What became final at the end; IndexError before the last chunk was taken."""
        if state == len(self._record.outputs):
            return DecoderOutput(), state
        if state != len(self._record.outputs) - 1:
            raise IndexError(
                f"flush after {state} of {len(self._record.outputs) - 1} recorded chunks"
            )
        self._clock.add(self._record.seconds[state])
        return self._record.outputs[state], state + 1


def search(
    encodings: Encodings,
    system: System | None = None,
    *,
    jobs: int = 1,
    progress: Progress = quiet,
) -> Searches:
    """Search what is not in the folder yet; interruptions and damage as in ``encode``.

    Args:
        encodings: where to search.
        system: whose decoder to use, if it is not that of ``encodings.system``.
        jobs: processes to use.
        progress: shows how far it is.

    Raises:
        ConfigError: for decoder options that are wrong.
        DataError: if an encoding was damaged in the meantime or a file cannot be written.
    """
    system = system or encodings.system
    decoder = system.decoder_settings()
    settings = {
        "encodings": encodings.digest,
        "code": code_digest(SEARCH_CODE),
        "decoder": decoder,
    }
    searches = Searches(encodings, system, digest(settings))
    missing = {s.content: s for s in encodings.sources if not _is_whole(searches.path(s))}
    waiting = sorted(missing.values(), key=lambda source: -source.length_ms)
    tasks = [(encodings.path(source), searches.path(source)) for source in waiting]
    job = _SearchJob(system.searches(), system.options.task, encodings.clock)
    finish(job, tasks, jobs, progress, f"searching, {decoder['name']}")
    return searches


def search_head(decoder: Decoder[Any], log_probs: Sequence[Tensor], clock: Clock) -> SearchRecord:
    """One head's chunks ``[n, V]`` through its decoder."""
    outputs, seconds = [], []
    state = decoder.init_state()
    for chunk in log_probs:
        started = clock()
        output, state = decoder.step(chunk, state)
        seconds.append(clock() - started)
        outputs.append(output)
    started = clock()
    output, _ = decoder.flush(state)
    seconds.append(clock() - started)
    return SearchRecord((*outputs, output), tuple(seconds))


def write_records(path: Path, records: Sequence[SearchRecord]) -> None:
    """Keep the searches of a recording; DataError if the file cannot be written."""
    heads = [
        {
            "outputs": [
                [_plain(output.stable), _plain(output.tentative)] for output in record.outputs
            ],
            "seconds": record.seconds,
        }
        for record in records
    ]
    content = {"checksum": digest(heads), "format": FORMAT, "heads": heads}
    write_whole(path, json.dumps(content).encode())


def read_records(path: Path) -> tuple[SearchRecord, ...]:
    """The searches of a file.

    Raises:
        DataError: if the file is missing, damaged or something else.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT or content["checksum"] != digest(content["heads"]):
            raise ValueError("it is altered or of another format")
        return tuple(
            SearchRecord(
                tuple(
                    DecoderOutput(*(tuple(Token(*token) for token in part) for part in parts))
                    for parts in head["outputs"]
                ),
                tuple(head["seconds"]),
            )
            for head in content["heads"]
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: does not hold whole searches ({error}); expected what was kept of a "
            "recording; run the same command again, which searches anew"
        ) from error


def _plain(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    return [(token.id, token.frame) for token in tokens]


def _is_whole(path: Path) -> bool:
    try:
        return path.exists() and bool(read_records(path))
    except DataError:
        return False


@dataclass(frozen=True)
class _SearchJob:
    """Searches; decoders are small and go to other processes as they are."""

    searches: dict[str, Decoder[Any]]
    task: str
    clock: str

    def start(self) -> Callable[[tuple[Path, Path]], None]:
        clock = clock_named(self.clock)
        names = tensor_names(self.task)[1:]

        def work(task: tuple[Path, Path]) -> None:
            encoded, searched = task
            encoding, tensors = read_encoding(encoded, names)
            records = []
            for decoder, name in zip(self.searches.values(), names, strict=False):
                chunks = [part for _, parts in encoding.split(tensors[name]) for part in parts]
                records.append(search_head(decoder, chunks, clock))
            write_records(searched, records)

        return work
