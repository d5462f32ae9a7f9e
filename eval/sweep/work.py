"""Where and how recordings are worked on."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from echostream.errors import ConfigError
from echostream.scale import Job, run_all

Item = TypeVar("Item")


class Progress(Protocol):
    """Passes items on and shows how many there have been; ``tqdm`` with its names in place."""

    def __call__(self, items: Iterable[Item], total: int, what: str) -> Iterable[Item]: ...


def quiet(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """Show nothing."""
    return items


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
    progress: Progress = quiet
    """Shows how far it is."""
    ray: str | None = None
    """Address of a Ray cluster to use instead of processes; see :func:`run_all`."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ConfigError(f"jobs is {self.jobs}; expected at least 1 process")

    def finish(self, job: Job[Item, None], items: Sequence[Item], what: str) -> None:
        """Do all items, for what they leave behind; errors as in :func:`run_all`."""
        # Closed at once where something fails, or the workers would go on until the end.
        with closing(run_all(job, items, jobs=self.jobs, ray=self.ray)) as results:
            for _ in self.progress(results, len(items), what):
                pass
