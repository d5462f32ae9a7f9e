"""All runs of a comparison: every system with every policy and segment size, replayed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.log import read_log
from eval.compare.plan import ComparisonPlan, SystemEntry
from eval.sweep import Source, System, Work, encode, run_policy
from eval.sweep.system import parse_policy

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Run:
    """One point of the grid."""

    entry: SystemEntry
    policy: str
    """As in the plan, such as ``wait-k:k=3``."""
    segment_ms: int
    folder: Path
    instances: tuple[Instance, ...]
    """What was written, with what each segment cost."""

    @property
    def key(self) -> tuple[str, int]:
        """What two runs of different systems have in common."""
        return self.policy, self.segment_ms


def read_run(entry: SystemEntry, policy: str, segment_ms: int, folder: Path) -> Run:
    """A run by the logs in its folder. DataError if they were damaged since."""
    log = read_log(folder, is_strict=True)
    if not all(instance.segments for instance in log.instances):
        raise DataError(
            f"{folder}: segments.log does not fit instances.log; expected the logs of one "
            "replay; remove the folder and run the command again"
        )
    return Run(entry, policy, segment_ms, folder, log.instances)


def spread(items: Sequence[Item], number: int | None) -> list[Item]:
    """So many items, evenly spread; all of them for ``None`` or if there are no more."""
    if number is None or number >= len(items):
        return list(items)
    return [items[i * len(items) // number] for i in range(number)]


def run_grid(
    plan: ComparisonPlan, sources: Sequence[Source], output: Path, work: Work
) -> Iterator[Run]:
    """Encode and replay what is not there yet, and give each run when it is.

    Args:
        plan: what to run.
        sources: recordings with their references.
        output: folder of the runs.
        work: where and how.

    Raises:
        EchoStreamError: if a system cannot be loaded or a recording not be used.
    """
    for entry in plan.systems:
        first = System(entry.options(plan.segment_ms[0]))
        heard = spread(sources, entry.recordings)
        for segment_ms in plan.segment_ms:
            system = first.with_options(chunk_ms=segment_ms)
            encodings = encode(system, heard, segment_ms=segment_ms, work=work)
            for policy in plan.policies_of(entry):
                spec = parse_policy(policy)
                name = re.sub(r"[^\w.,=+-]", "_", policy)
                folder = run_policy(
                    encodings,
                    output=output / entry.name / name / str(segment_ms),
                    policy=spec.name,
                    policy_options=spec.options,
                    forced=not entry.trained,
                )
                yield read_run(entry, policy, segment_ms, folder)
