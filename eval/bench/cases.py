"""What is measured: one case for each way to run an encoder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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
            ECHOSTREAM,
            STREAMING,
            backend,
            precision,
            self.chunk_ms,
            self.max_future_frames,
            self.positions[0],
            self.threads[0],
        )

    def cases(self) -> list[Case]:
        """Each once, the references first; ``forward`` over a recording is in torch."""
        references = [self.reference(*pair) for pair in self.backends]
        offline = replace(self.reference(), mode=OFFLINE, position_s=OFFLINE_S)
        offlines = [replace(offline, chunk_ms=ms) for ms in (self.chunk_ms, *self.chunks)]
        varied = [case for reference in references for case in self._varied(reference)]
        return list(dict.fromkeys((*references, *offlines, *varied)))

    def _varied(self, reference: Case) -> Iterator[Case]:
        if self.only_torch and reference.backend != "torch":
            return
        values: dict[str, Sequence[int | None]] = {
            "chunk_ms": self.chunks,
            "position_s": self.positions,
            "threads": self.threads,
            "streams": self.streams,
        }
        fastest = next((pair for pair in self.backends if pair[1] == "float32"), None)
        if (reference.backend, reference.precision) in (("torch", "float32"), fastest):
            values["max_future_frames"] = self.futures  # Each needs a graph of its own.
        for name, choices in values.items():
            for value in choices:
                yield replace(reference, **{name: value})  # type: ignore[arg-type]


def baseline_cases(plan: Plan, chunks: Sequence[int], positions: Sequence[int]) -> list[Case]:
    """The published encoder with caches, from the first sample at each chunk, and offline."""
    found: list[Case] = []
    for mode in ("cached", "recompute"):
        case = replace(
            plan.reference(),
            system=STREAMSPEECH,
            mode=mode,
            max_future_frames=None,
            position_s=positions[0],
        )
        found += [replace(case, position_s=seconds) for seconds in positions]
        found += [replace(case, chunk_ms=ms) for ms in chunks]
        found.append(replace(case, mode=OFFLINE, position_s=OFFLINE_S))
    return list(dict.fromkeys(found))
