"""What a server counts and how late it is, as Prometheus reads it."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_RECENT_S = 30.0
_FEWEST = 8
"""Chunks that are needed to say that a server is late."""


@dataclass
class Meter:
    """Changes in place; belongs to the event loop."""

    clock: Callable[[], float] = time.monotonic
    clients: int = 0
    refused: int = 0
    """Clients that were not let in."""
    streams: int = 0
    """Open now."""
    opened: int = 0
    errors: int = 0
    """Messages of clients that were wrong."""
    words: int = 0
    chunks: int = 0
    audio_s: float = 0.0
    """Taken in."""
    compute_s: float = 0.0
    late: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1000))
    """When, and how many seconds after its chunk was whole a stream had its words."""

    def served(self, seconds_late: float, compute_s: float, num_words: int) -> None:
        """A chunk of a stream was computed."""
        self.chunks += 1
        self.words += num_words
        self.compute_s += compute_s
        self.late.append((self.clock(), seconds_late))

    def recent(self) -> Sequence[float]:
        """How late the chunks of the last half minute were, in s, ascending."""
        since = self.clock() - _RECENT_S
        return sorted(late for when, late in self.late if when >= since)

    def median_late_s(self) -> float:
        """How late chunks are at the median; 0 where they are too few to say."""
        recent = self.recent()
        return recent[len(recent) // 2] if len(recent) >= _FEWEST else 0.0

    def is_late(self, chunk_s: float) -> bool:
        """Whether chunks wait, at the median, for longer than they last."""
        return self.median_late_s() > chunk_s

    def prometheus(self, behind_s: float) -> str:
        """The exposition format; ``behind_s`` of audio wait in the stream that waits most."""
        recent = self.recent()
        rows: list[tuple[str, str, str, float]] = [
            ("clients", "gauge", "connections", self.clients),
            ("streams", "gauge", "streams that are open", self.streams),
            ("behind_seconds", "gauge", "audio that waits, of the slowest stream", behind_s),
            ("refused_total", "counter", "connections that were refused", self.refused),
            ("streams_total", "counter", "streams that were opened", self.opened),
            ("errors_total", "counter", "messages that were refused", self.errors),
            ("words_total", "counter", "words that were written", self.words),
            ("chunks_total", "counter", "chunks that were computed", self.chunks),
            ("audio_seconds_total", "counter", "audio that was taken in", self.audio_s),
            ("compute_seconds_total", "counter", "time spent on it", self.compute_s),
        ]
        lines = []
        for name, kind, text, value in rows:
            lines += [f"# HELP echostream_{name} {text}", f"# TYPE echostream_{name} {kind}"]
            lines.append(f"echostream_{name} {value:.10g}")
        name = "echostream_chunk_seconds"
        lines += [
            f"# HELP {name} from the end of a chunk to its words, last {_RECENT_S:.0f} s",
            f"# TYPE {name} summary",
        ]
        for quantile in (0.5, 0.95):
            if recent:
                value = recent[min(len(recent) - 1, int(quantile * len(recent)))]
                lines.append(f'{name}{{quantile="{quantile}"}} {value:.6f}')
        return "\n".join((*lines, f"{name}_count {self.chunks}", ""))
