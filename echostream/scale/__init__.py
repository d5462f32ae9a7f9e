"""One function over many recordings: in this process, in several, or on a Ray cluster.

    for result in run_all(job, items, jobs=4): ...
    for result in run_all(job, items, ray="auto"): ...

What is finished is given out at once, so whoever keeps it loses nothing to an interruption.
"""

from collections.abc import Generator, Sequence

from echostream.scale.cluster import run_on_cluster
from echostream.scale.job import Item, Job, Result, one_thread
from echostream.scale.processes import run_in_processes

__all__ = ["Job", "one_thread", "run_all"]


def run_all(
    job: Job[Item, Result], items: Sequence[Item], *, jobs: int = 1, ray: str | None = None
) -> Generator[Result, None, None]:
    """The results, in the order in which they get ready; one torch thread for each item.

    With one job, or one item, everything is done in this process. When the generator is closed, or
    an error comes through it, work that was begun is given up.

    Args:
        job: what is done; the same for all items.
        items: can be pickled. An item may be begun again where a machine is lost, so what the job
            writes must be whole or not there.
        jobs: processes on this machine.
        ray: ``auto`` or the address of a Ray cluster, whose processors then count instead of
            ``jobs``.

    Raises:
        DataError: if a worker process dies (on a cluster: again and again), the cluster is not
            there, or the extra ``scale`` is missing. What the work itself raises comes through.
    """
    if not items:
        return
    if ray is not None:
        yield from run_on_cluster(job, items, ray)
    elif min(jobs, len(items)) > 1:
        yield from run_in_processes(job, items, min(jobs, len(items)))
    else:
        with one_thread():
            yield from map(job.start(), items)
