"""`echostream serve` as a process, watched from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.errors import EchoStreamError
from echostream.machine import resident_bytes

START_S = 300.0
"""In which a server must be there."""

_END_S = 60.0


class ServerError(EchoStreamError):
    """The server did not start, or did not end as it should."""


@dataclass(frozen=True)
class Moment:
    """What was seen of the server."""

    at_s: float
    """Since the clients began."""
    rss_bytes: int
    """Of all processes; what they share counts for each."""
    cpu_s: float
    """Of all processes, since their start."""
    clients: int
    behind_s: float
    """Audio that waits, of the stream that waits most."""
    audio_s: float
    """Taken in since its start."""


class Served:
    """``with Served(arguments, log) as server`` serves until the block ends.

    Args:
        arguments: of ``echostream serve``.
        log: file that it writes to.

    Raises:
        ServerError: if it does not start, or ends with a failure.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "echostream", "serve", "--port", "0", *arguments]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self._began = time.monotonic()

    def __enter__(self) -> Served:
        while (found := re.search(r"^serving on (\S+)$", self._said(), re.MULTILINE)) is None:
            if self.process.poll() is not None or time.monotonic() > self._began + START_S:
                self.process.kill()
                raise ServerError(f"the server did not start; {self._log} ends with: {self._end()}")
            time.sleep(0.1)
        self.url = found[1]
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if status and error is None:
            raise ServerError(f"the server ended with {status}; {self._log}: {self._end()}")

    def look(self) -> Moment:
        """How it is now."""
        with urllib.request.urlopen(self.url + "metrics", timeout=_END_S) as response:
            text = response.read().decode()
        told = dict(re.findall(r"^echostream_(\w+) (\S+)$", text, re.MULTILINE))
        processes = family(self.process.pid)
        return Moment(
            time.monotonic() - self._began,
            sum(map(resident_bytes, processes)),
            sum(map(_cpu_s, processes)),
            int(told["clients"]),
            float(told["behind_seconds"]),
            float(told["audio_seconds_total"]),
        )

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _end(self) -> str:
        return " ".join(self._said().split()[-40:]) or "nothing"


def family(process: int) -> list[int]:
    """A process and all that it has started."""
    found = [process]
    for each in found:  # grows while it is walked
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, path.read_text(encoding="ascii").split())
    return found


def _cpu_s(process: int) -> float:
    """Of all threads, since its start."""
    times = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
