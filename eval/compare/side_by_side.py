"""EchoStream's Whisper and what people use today, recording by recording in turn.

Whole agents under SimulEval's interface; what a segment costs is the whole call that the host
makes. References are normalised, and so is what is said.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from echostream.locations import find_checkpoint
from echostream.scale import one_thread
from echostream.session.costs import Costs
from echostream.session.segment_log import LOG_NAME as SEGMENT_LOG_NAME
from echostream.text import normalise
from echostream.whole_file import write_whole
from eval import baselines
from eval.compare.grid import Run, read_run
from eval.compare.plan import SystemEntry
from eval.compare.points import system_of
from eval.compare.schema import System
from eval.sweep import Source, Work
from eval.sweep.kept import ALL_CODE, code_digest, digest, is_kept, read_kept, write_kept
from eval.sweep.runs import INSTANCE_LOG_NAME, log_lines
from eval.sweep.sources import cuts, read_samples
from eval.sweep.system import parse_policy

SEGMENT_MS = 640
BASE = "whisper-base"

ENTRIES = (
    SystemEntry(
        "whisper-streaming",
        "Whisper base, streaming",
        checkpoint="checkpoints/whisper-base-streaming",
        policies=("alignatt",),
    ),
    SystemEntry(
        "whisper-streaming-int8",
        "Whisper base, streaming, int8",
        checkpoint="checkpoints/whisper-base-streaming",
        precision="int8",
        policies=("alignatt",),
    ),
    SystemEntry(
        "whisper-local-agreement",
        "Whisper base, re-encoded, local agreement",
        checkpoint=BASE,
        policies=("local-agreement:n=2",),
    ),
    SystemEntry(
        "whisper-alignatt",
        "Whisper base, re-encoded, AlignAtt",
        checkpoint=BASE,
        policies=("alignatt:frames=25",),
    ),
    SystemEntry("whisper-offline", "Whisper base, offline", checkpoint=BASE, policies=("offline",)),
)
"""The first one is tested against each of the others."""


def require_base() -> None:
    """CheckpointError, which says what to do, where Whisper base was not fetched."""
    find_checkpoint(BASE)


def run_side_by_side(
    sources: Sequence[Source], language: str, output: Path, work: Work
) -> list[tuple[System, Run]]:
    """All of :data:`ENTRIES` on all recordings; what was done before is kept.

    Args:
        sources: the recordings.
        language: that is spoken.
        output: folder of the runs.
        work: where; always in this process.

    Raises:
        EchoStreamError: if a system cannot be loaded or a recording not be used.
    """
    agents = {entry.name: agent_of(entry, language) for entry in ENTRIES}
    models = {name: _model_of(agent) for name, agent in agents.items()}
    code = (*ALL_CODE, Path(__file__), Path(str(baselines.__file__)).parent)
    settings = [
        [(name, model.fingerprint()) for name, model in models.items()],
        [language, SEGMENT_MS, code_digest(code)],
    ]
    logs: dict[str, list[tuple[str, str]]] = {name: [] for name in agents}
    with one_thread():
        for number, source in enumerate(work.progress(sources, len(sources), "side by side")):
            about = [*settings, source.index, source.content, source.reference]
            path = work.folder / "side-by-side" / digest(about)
            if not is_kept(path):
                # Each goes first as often as any other.
                first = number % len(agents)
                turns = [*list(agents)[first:], *list(agents)[:first]]
                write_kept(path, {n: translated(agents[n], source) for n in turns})
            for name, lines in read_kept(path).items():
                logs[name].append(lines)
    found = []
    for entry in ENTRIES:
        (policy,) = entry.policies or ()
        folder = output / entry.name / str(SEGMENT_MS)
        instances, segments = map("".join, zip(*logs[entry.name], strict=True))
        write_whole(folder / INSTANCE_LOG_NAME, instances)
        write_whole(folder / SEGMENT_LOG_NAME, segments)
        system = system_of(entry, models[entry.name])
        if entry.checkpoint == BASE:
            mode = "whole recording" if policy == "offline" else "recompute"
            system = replace(system, family="whisper", mode=mode)
        found.append((system, read_run(entry, policy, SEGMENT_MS, folder)))
    return found


def agent_of(entry: SystemEntry, language: str) -> Any:
    """The agent of one of :data:`ENTRIES`."""
    from echostream.hosts.simuleval.agent import EchoStreamAgent
    from eval.baselines.reencoding import FRAMES
    from eval.baselines.whisper_reencoding import WhisperReencoding

    if entry.checkpoint != BASE:
        options = replace(entry.options(SEGMENT_MS), source_language=language)
        return EchoStreamAgent(SimpleNamespace(**vars(options)))
    way = parse_policy((entry.policies or ())[0]).name
    own = {"checkpoint": BASE, "source_language": language, "task": "s2tt"}
    return WhisperReencoding(SimpleNamespace(**own, way=way, frames=FRAMES))


def _model_of(agent: Any) -> Any:
    return agent.translator.listener.model


def translated(agent: Any, source: Source) -> tuple[str, str]:
    """One recording through an agent in SimulEval's segments: its lines of the two logs."""
    from simuleval.data.segments import SpeechSegment

    samples = read_samples(source)

    def answers() -> Iterator[tuple[float, Costs, list[str]]]:
        for start, end in cuts(source.num_samples, source.sample_rate, SEGMENT_MS):
            segment = SpeechSegment(
                content=samples[start:end].tolist(),
                sample_rate=source.sample_rate,
                finished=end == source.num_samples,
            )
            begin = time.process_time()
            answer = agent.pushpop(segment)
            cost = 1000 * (time.process_time() - begin)
            yield source.ms(end), {"agent": cost}, normalise(answer.content or "").split()

    agent.reset()
    return log_lines(source, answers(), " ")
