"""One piece of work after another, in this process or in several, until done or interrupted.

What is finished is given out at once, so whoever keeps it loses nothing to an interruption.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from echostream.errors import ConfigError, DataError, EchoStreamError
from echostream.session.costs import Clock

Item = TypeVar("Item")
InItem = TypeVar("InItem", contravariant=True)
Result = TypeVar("Result")
OutResult = TypeVar("OutResult", covariant=True)

CLOCKS: dict[str, Clock] = {"cpu": time.process_time, "wall": time.perf_counter}
"""``cpu``: time that this process computed, hardly changed by whatever else runs. All its threads
count, because a compiled encoder may have one of its own. ``wall``: time that passed, which
SimulEval takes; it is only right while nothing else runs."""

_PATIENCE_S = 10
"""How long a process that was told to end may take."""


class Progress(Protocol):
    """Passes items on and shows how many there have been; ``tqdm`` with its names in place."""

    def __call__(self, items: Iterable[Item], total: int, what: str) -> Iterable[Item]: ...


def quiet(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """Show nothing."""
    return items


class Job(Protocol[InItem, OutResult]):
    """Can be pickled."""

    def start(self) -> Callable[[InItem], OutResult]:
        """Called once in each process; gives what does one item."""
        ...


@dataclass(frozen=True)
class Work:
    """Where and how recordings are worked on.

    Raises ConfigError for no jobs and an unknown clock.
    """

    folder: Path
    """Of what is kept; may be shared by any systems and lists."""
    jobs: int = 1
    """Processes to use."""
    clock: str = "cpu"
    """One of :data:`CLOCKS`; with several jobs ``wall`` also measures the waiting for each
    other."""
    progress: Progress = quiet
    """Shows how far it is."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ConfigError(f"jobs is {self.jobs}; expected at least 1 process")
        if self.clock not in CLOCKS:
            raise ConfigError(f"clock is {self.clock!r}; expected one of {', '.join(CLOCKS)}")

    def finish(self, job: Job[Item, None], items: Sequence[Item], what: str) -> None:
        """Do all items, for what they leave behind; errors as in :func:`run`."""
        # Closed at once where something fails, or the workers would go on until the end.
        with closing(run(job, items, self.jobs)) as results:
            for _ in self.progress(results, len(items), what):
                pass


def run(job: Job[Item, Result], items: Sequence[Item], jobs: int) -> Generator[Result, None, None]:
    """The results, in the order in which they get ready; one torch thread in each process.

    With one job, or one item, everything is done in this process. When the generator is closed, or
    an error comes through it, work that was begun is given up.

    Raises:
        DataError: if a worker process dies. What the work itself raises comes through.
    """
    if min(jobs, len(items)) > 1:
        yield from _run_beside(job, items, min(jobs, len(items)))
    elif items:
        with one_thread():
            yield from map(job.start(), items)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one torch thread, as the agent does by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_beside(
    job: Job[Item, Result], items: Sequence[Item], jobs: int
) -> Generator[Result, None, None]:
    """In ``jobs`` other processes, each with a pipe of its own.

    Not a pool of the standard library: there a process that dies can go unnoticed while the others
    are busy (concurrent.futures) or for ever (multiprocessing), and one that is killed can take a
    shared lock with it.
    """
    # Forking a process in which torch has started threads can hang. A fork server has not started
    # any, and imports torch only once for all calls.
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["eval.sweep"])
    processes = []
    waiting = list(reversed(items))
    busy: list[Connection] = []
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(job, there), daemon=True)
            process.start()
            processes.append(process)
            there.close()
            busy.append(here)
            here.send(waiting.pop())
        while busy:
            for here in wait(busy):
                assert isinstance(here, Connection)
                error, result = here.recv()
                if error is not None:
                    raise error
                if waiting:
                    here.send(waiting.pop())
                else:
                    busy.remove(here)
                yield result
    except (EOFError, ConnectionError) as error:
        raise DataError(
            f"one of {jobs} worker processes died, perhaps for want of memory; what was finished "
            "is kept: run the command again, with fewer jobs if it dies again"
        ) from error
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()


def _serve(job: Job[Any, Any], there: Connection) -> None:
    """Do what comes through the pipe until its other end is closed."""
    # Ctrl-C goes to the whole group; the parent answers it. Ending by an exception lets a file that
    # is being written be taken away.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(1)
    try:
        work = job.start()
        while True:
            item = there.recv()
            there.send((None, work(item)))
    except (EOFError, ConnectionError):
        # There is nothing more to do, or the parent was killed.
        return
    except Exception as error:
        if not isinstance(error, EchoStreamError):
            error.add_note(traceback.format_exc())
        there.send((error, None))
    finally:
        # What is left is to let go of the work, which an exception would only disturb.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
