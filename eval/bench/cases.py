"""What is measured: one case for each way to run an encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ECHOSTREAM, STREAMSPEECH = "echostream", "streamspeech"
STREAMING, OFFLINE = "streaming", "offline"

OFFLINE_S = 10
"""Length of the recording that ``forward`` encodes."""


@dataclass(frozen=True)
class Case:
    """One way to run an encoder."""

    system: str
    """``echostream`` or ``streamspeech``."""
    mode: str
    """``streaming``, for the baseline ``cached`` or ``recompute``; or ``offline``."""
    backend: str
    precision: str
    chunk_ms: int
    max_future_frames: int | None
    position_s: int
    """Audio heard before the chunk; for ``offline`` the length of the recording."""
    threads: int = 1
    streams: int = 1

    @property
    def is_offline(self) -> bool:
        """Whether it encodes a recording at once."""
        return self.mode == OFFLINE

    @property
    def audio_ms(self) -> int:
        """Audio of each stream that one call encodes."""
        return 1000 * self.position_s if self.is_offline else self.chunk_ms

    @property
    def runner(self) -> str:
        """What runs it, in words: the backend, or the baseline's mode."""
        if self.system == STREAMSPEECH:
            return f"StreamSpeech, {self.mode}"
        if self.is_offline:
            return f"{self.backend}, offline"
        return self.backend if self.precision == "float32" else f"{self.backend} {self.precision}"

    @property
    def name(self) -> str:
        """In words."""
        place = f"{self.position_s} s" if self.is_offline else f"after {self.position_s} s"
        future = "chunk" if self.max_future_frames is None else str(self.max_future_frames)
        look_ahead = "" if self.system == STREAMSPEECH else f", L = {future}"
        return (
            f"{self.runner}, chunk {self.chunk_ms} ms{look_ahead}, {place}, "
            f"{self.streams} stream(s), {self.threads} thread(s)"
        )

    @property
    def is_reference_precision(self) -> bool:
        """Whether numbers are as in the reference path."""
        return self.precision == "float32"


@dataclass(frozen=True)
class Plan:
    """What to vary, one thing at a time, around a reference case.

    The reference has the configuration's chunk and look-ahead, the first position and the first
    number of threads, and one stream. So all tables have it in common.
    """

    chunk_ms: int
    """Of the configuration."""
    max_future_frames: int | None
    """Of the configuration."""
    backends: tuple[tuple[str, str], ...]
    """Names and precisions, the fastest first."""
    chunks: tuple[int, ...]
    """ms."""
    positions: tuple[int, ...]
    """s."""
    threads: tuple[int, ...]
    streams: tuple[int, ...]
    futures: tuple[int | None, ...]
    only_torch: bool = False
    """Vary for torch alone, which needs no compiling."""

    def reference(self, backend: str = "torch", precision: str = "float32") -> Case:
        """The case that all others differ from in one thing."""
        return Case(
            system=ECHOSTREAM,
            mode=STREAMING,
            backend=backend,
            precision=precision,
            chunk_ms=self.chunk_ms,
            max_future_frames=self.max_future_frames,
            position_s=self.positions[0],
            threads=self.threads[0],
        )

    def offline(self, chunk_ms: int | None = None) -> Case:
        """``forward`` over a recording under the chunk mask, in torch."""
        return dataclasses.replace(
            self.reference(),
            mode=OFFLINE,
            chunk_ms=chunk_ms or self.chunk_ms,
            position_s=OFFLINE_S,
        )

    def cases(self) -> list[Case]:
        """Each once, the references first."""
        found: dict[Case, None] = {}
        for backend, precision in self.backends:
            found[self.reference(backend, precision)] = None
        for ms in (self.chunk_ms, *self.chunks):
            found[self.offline(ms)] = None
        for backend, precision in self.backends:
            for case in self._varied(backend, precision):
                found[case] = None
        return list(found)

    def _varied(self, backend: str, precision: str) -> Iterator[Case]:
        case = self.reference(backend, precision)
        if self.only_torch and backend != "torch":
            return
        for ms in self.chunks:
            yield dataclasses.replace(case, chunk_ms=ms)
        for seconds in self.positions:
            yield dataclasses.replace(case, position_s=seconds)
        for count in self.threads:
            yield dataclasses.replace(case, threads=count)
        for count in self.streams:
            yield dataclasses.replace(case, streams=count)
        fastest = next(
            (pair for pair in self.backends if pair[1] == "float32"), ("torch", "float32")
        )
        if (backend, precision) in (("torch", "float32"), fastest):
            for future in self.futures:
                yield dataclasses.replace(case, max_future_frames=future)


def baseline_cases(
    chunk_ms: int, chunks: Sequence[int], positions: Sequence[int], threads: int
) -> list[Case]:
    """The published encoder with caches, from the first sample at each chunk, and offline."""
    found: dict[Case, None] = {}
    for mode in ("cached", "recompute"):
        case = Case(
            system=STREAMSPEECH,
            mode=mode,
            backend="torch",
            precision="float32",
            chunk_ms=chunk_ms,
            max_future_frames=None,
            position_s=positions[0],
            threads=threads,
        )
        found[case] = None
        for seconds in positions:
            found[dataclasses.replace(case, position_s=seconds)] = None
        for ms in chunks:
            found[dataclasses.replace(case, chunk_ms=ms)] = None
        found[dataclasses.replace(case, mode=OFFLINE, position_s=OFFLINE_S)] = None
    return list(found)
