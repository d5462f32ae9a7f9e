"""Several processes on this machine."""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from echostream.errors import DataError, EchoStreamError
from echostream.scale.job import Item, Job, Result

_PATIENCE_S = 10
"""How long a process that was told to end may take."""


def run_in_processes(
    job: Job[Item, Result], items: Sequence[Item], jobs: int
) -> Generator[Result, None, None]:
    """In ``jobs`` other processes, each with a pipe of its own; see :func:`run_all`.

    Not a pool of the standard library: there a process that dies can go unnoticed while the others
    are busy (concurrent.futures) or for ever (multiprocessing), and one that is killed can take a
    shared lock with it.
    """
    # Forking a process in which torch has started threads can hang. A fork server has not started
    # any, and imports torch only once for all calls.
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([type(job).__module__])
    processes = []
    waiting = list(reversed(items))
    busy: list[Connection] = []
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            processes.append(process)
            there.close()
            busy.append(here)
            here.send(job)
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


def _serve(there: Connection) -> None:
    """Do what comes through the pipe until its other end is closed."""
    # Ctrl-C goes to the whole group; the parent answers it. Ending by an exception lets a file that
    # is being written be taken away.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(1)
    try:
        # Here and not by the arguments of the process, so that a job that cannot be loaded says so.
        work = there.recv().start()
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
