"""Items as tasks of Ray (https://docs.ray.io), on this machine or on a cluster.

Each task takes one processor. A worker process starts a job once and keeps it. A task whose machine
or process is lost is given to another one; an error of the work itself is not tried again.
"""

import os
import platform
import socket
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from echostream.errors import DataError
from echostream.scale.job import Item, Job, Result

RETRIES = 5
"""How often an item is given to another worker. What kills all that it meets is no accident."""

_PATIENCE_S = 10

_AHEAD = 1000
"""Tasks that Ray knows of at a time: enough for an autoscaler to see what is wanted."""


def run_on_cluster(
    job: Job[Item, Result], items: Sequence[Item], address: str
) -> Generator[Result, None, None]:
    """On the cluster at the address, or ``auto``; see :func:`run_all`."""
    ray = connect(address)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_do)
    # In a list it is no argument that Ray loads anew for each task: it may hold a model.
    sent, folder = [ray.put(job)], os.getcwd()
    waiting = list(reversed(items))
    busy: list[Any] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < _AHEAD:
                busy.append(task.remote(sent, folder, waiting.pop()))
            (ready,), busy = ray.wait(busy)
            yield ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise DataError(
            f"a Ray worker was lost {RETRIES + 1} times, or the cluster was ({_line(error)}); what "
            "was finished is kept: run the command again; if memory was short, with fewer "
            "processors a machine (ray start --num-cpus)"
        ) from error
    finally:
        for each in busy:
            ray.cancel(each)


def connect(address: str) -> Any:
    """The package ray, connected once for the life of this process.

    ``auto`` takes the cluster of ``RAY_ADDRESS``, else one that runs on this machine, else starts
    one here that ends with this process. Raises DataError if that is not possible.
    """
    # Ray would otherwise report to its makers what it is used for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise DataError(
            'the Python package ray is missing; install it with `pip install "echostream[scale]"`, '
            "or run without --ray"
        ) from error
    if not ray.is_initialized():
        try:
            wanted = found(address)
            _reach(wanted or "")
            ray.init(wanted, logging_level="WARNING")
        except Exception as error:  # Which Ray itself raises where its processes are late.
            raise DataError(
                f"no Ray cluster can be used at {address!r} ({_line(error)}); expected auto or the "
                "HOST:PORT that `ray start --head` printed, on a machine of the cluster"
            ) from error
    return ray


def found(address: str) -> str | None:
    """What Ray is to be told for an address, or for ``auto``; ``None`` leaves it to Ray.

    A cluster that was killed stays noted on its machine, and Ray would try for minutes to reach it.
    """
    if address != "auto":
        return address
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    noted = Path(folder, "ray", "ray_current_cluster")
    try:
        _reach(noted.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except OSError:
        return "local"
    return None


def _reach(address: str) -> None:
    """Refuse at once what Ray itself would try for minutes.

    Raises:
        OSError: if nobody listens at ``HOST:PORT``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), _PATIENCE_S).close()


_STARTED: dict[str, Callable[[Any], Any]] = {}
"""What a worker process has started, by job: the latest alone."""


def _do(sent: list[Any], folder: str, item: Any) -> Any:
    """The task; ``sent`` is the reference of the job."""
    (reference,) = sent
    if reference.hex() not in _STARTED:
        _STARTED.clear()
        _STARTED[reference.hex()] = _started(reference, folder)
    return _STARTED[reference.hex()](item)


def _started(reference: Any, folder: str) -> Callable[[Any], Any]:
    torch.set_num_threads(1)
    try:
        # Paths of a command line are relative to where it was given.
        os.chdir(folder)
    except OSError as error:
        raise DataError(
            f"{platform.node()} cannot enter {folder} ({error.strerror}); expected every "
            "machine of the cluster to have the folders of the command under the same names"
        ) from error
    import ray

    try:
        job: Job[Any, Any] = ray.get(reference)
    except ray.exceptions.RaySystemError as error:  # Around what loading it raised.
        raise error.client_exc or error from error
    return job.start()


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
