"""All runs of a comparison: every system with every policy and segment size, replayed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.log import read_log
from eval.compare.plan import ComparisonPlan, SystemEntry
from eval.sweep import Source, System, encode, run_policy
from eval.sweep.policy_spec import parse_policy
from eval.sweep.workers import Progress, quiet


@dataclass(frozen=True)
class Run:
    """One point of the grid."""

    entry: SystemEntry
    policy: str
    """As in the plan, such as ``wait-k:k=3``."""
    segment_ms: int
    folder: Path

    @property
    def key(self) -> tuple[str, int]:
        """What two runs of different systems have in common."""
        return self.policy, self.segment_ms

    def instances(self) -> tuple[Instance, ...]:
        """What was written, with what each segment cost.

        Raises:
            DataError: if the log was damaged since it was written.
        """
        log = read_log(self.folder, is_strict=True)
        if not all(instance.segments for instance in log.instances):
            raise DataError(
                f"{self.folder}: segments.log does not fit instances.log; expected the logs of one "
                "replay; remove the folder and run the command again"
            )
        return log.instances


def recordings_of(entry: SystemEntry, sources: Sequence[Source]) -> list[Source]:
    """Those that a system is run on: all, or as many as the plan says, evenly spread."""
    if entry.recordings is None or entry.recordings >= len(sources):
        return list(sources)
    return [sources[i * len(sources) // entry.recordings] for i in range(entry.recordings)]


def run_grid(
    plan: ComparisonPlan,
    sources: Sequence[Source],
    *,
    root: Path,
    output: Path,
    jobs: int,
    clock: str,
    progress: Progress = quiet,
) -> Iterator[Run]:
    """Encode and replay what is not there yet, and give each run when it is.

    Args:
        plan: what to run.
        sources: recordings with their references.
        root: what paths in the plan are relative to.
        output: folder of the comparison; ``runs`` and ``cache`` are made in it.
        jobs: recordings encoded at a time.
        clock: ``cpu`` or ``wall``.
        progress: shows how far it is.

    Raises:
        EchoStreamError: if a system cannot be loaded or a recording not be used.
    """
    for entry in plan.systems:
        heard = recordings_of(entry, sources)
        system = None
        for segment_ms in plan.segment_ms:
            options = entry.options(segment_ms, root)
            system = System(options, like=system)
            encodings = encode(
                system,
                heard,
                segment_ms=segment_ms,
                folder=output / "cache",
                jobs=jobs,
                clock=clock,
                progress=progress,
            )
            for policy in plan.policies_of(entry):
                spec = parse_policy(policy)
                folder = re.sub(r"[^\w.,=+-]", "_", policy)
                yield Run(
                    entry,
                    policy,
                    segment_ms,
                    run_policy(
                        encodings,
                        output=output / "runs" / entry.name / folder / str(segment_ms),
                        policy=spec.name,
                        policy_options=spec.options,
                        forced=not entry.trained,
                        jobs=jobs,
                        progress=progress,
                    ),
                )
