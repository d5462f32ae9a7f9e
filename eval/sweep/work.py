"""Where and how recordings are worked on."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from echostream.errors import ConfigError
from echostream.scale import Job, run_all
from eval.command import progress

Item = TypeVar("Item")


@dataclass(frozen=True)
class Work:
    """Where and how recordings are worked on.

    Costs are CPU time of the process, hardly changed by whatever else runs. All its threads count,
    because a compiled encoder may have one of its own.

    Raises ConfigError for no jobs.
    """

    folder: Path
    """Of what is kept; may be shared by any systems and lists."""
    jobs: int = 1
    """Processes to use."""
    ray: str | None = None
    """Address of a Ray cluster to use instead of processes; see :func:`run_all`."""
    progress: Callable[[Iterable[Any], int, str], Iterable[Any]] = progress
    """Passes items on, given how many there are and what is done, and shows how far it is."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ConfigError(f"jobs is {self.jobs}; expected at least 1 process")

    def finish(self, job: Job[Item, None], items: Sequence[Item], what: str) -> None:
        """Do all items, for what they leave behind; errors as in :func:`run_all`."""
        # Closed at once where something fails, or the workers would go on until the end.
        with closing(run_all(job, items, jobs=self.jobs, ray=self.ray)) as results:
            for _ in self.progress(results, len(items), what):
                pass
