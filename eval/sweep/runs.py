"""A policy over kept encodings, and the logs that SimulEval and the agent would write."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import echostream
from echostream.errors import ConfigError
from echostream.session.costs import Costs, sum_costs
from echostream.session.segment_log import LOG_NAME as SEGMENT_LOG_NAME
from echostream.session.segment_log import SegmentRecord, segment_line
from echostream.session.writer import Writer
from echostream.whole_file import sha256_of, write_whole
from eval.sweep.encodings import Encoding, Encodings
from eval.sweep.kept import WRITING_CODE, code_digest, digest, is_kept, read_kept, write_kept
from eval.sweep.sources import Source
from eval.sweep.system import System

INSTANCE_LOG_NAME = "instances.log"
RUN_NAME = "run.json"

logger = logging.getLogger(__name__)


def run_policy(
    encodings: Encodings,
    *,
    output: str | Path,
    policy: str | None = None,
    policy_options: str | None = None,
    forced: bool = False,
) -> Path:
    """Run a policy over all recordings and write ``instances.log`` and ``segments.log``.

    The first is what SimulEval 1.1.4 writes, in words, byte for byte but for the elapsed times:
    an elapsed time is the delay plus all compute so far, as there, but the compute is the kept cost
    of front end, encoder and heads plus the measured cost of the searches, of making words and of
    deciding, without the evaluator's own. The second is the agent's ``--segment-log``. ``run.json``
    comes last; where it is there and its digest fits, nothing is done. After an interruption the
    next call goes on with the recording where this one was.

    Args:
        encodings: made by :func:`eval.sweep.encode`.
        output: folder of the run.
        policy: ``--policy`` of the agent; ``None`` for that of ``encodings.system``.
        policy_options: ``--policy-options`` of that ``policy``.
        forced: write the words of the references on the policy's schedule, as ``--forced-target``
            with the list of references does.

    Returns the folder.

    Raises:
        ConfigError: for options that are wrong, and for random weights without ``forced``.
        DataError: if something kept was damaged in the meantime or a log cannot be written.
    """
    system = encodings.system
    if policy is not None:
        system = system.with_options(policy=policy, policy_options=policy_options)
    if system.options.random_weights is not None and not forced:
        raise ConfigError(
            "an untrained model has no words to write; expected forced=True (--forced), which "
            "writes the references' words on the policy's schedule"
        )
    settings = _settings(encodings, system, forced)
    # Where the weights lie does not matter, they have a digest of their own.
    wanted = digest({key: value for key, value in settings.items() if key != "system"})
    folder = Path(output)
    if _is_finished(folder, wanted):
        logger.info("%s is finished", folder)
        return folder
    work = encodings.work
    kept = work.folder / "replays" / wanted
    tasks = [(s, encodings.path(s), kept / f"{s.index}.safetensors") for s in encodings.sources]
    waiting = [task for task in tasks if not is_kept(task[-1])]
    work.finish(_ReplayJob(system, forced), waiting, folder.name)
    instances, segments = zip(*(read_kept(path) for _, _, path in tasks), strict=True)
    logs = {
        INSTANCE_LOG_NAME: "".join(instances).encode(),
        SEGMENT_LOG_NAME: "".join(segments).encode(),
    }
    for name, data in logs.items():
        write_whole(folder / name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in logs.items()}
    run = {"digest": wanted, "settings": settings, "logs": sums}
    write_whole(folder / RUN_NAME, json.dumps(run, indent=2, default=str) + "\n")
    shutil.rmtree(kept)
    return folder


def run_compute_ms(folder: str | Path) -> float:
    """Compute of all stages and recordings of a run, from its ``segments.log``, ms."""
    lines = (Path(folder) / SEGMENT_LOG_NAME).read_text(encoding="utf-8").splitlines()
    segments = (segment for line in lines for segment in json.loads(line)["segments"])
    return sum(sum(segment["costs_ms"].values()) for segment in segments)


def log_lines(
    source: Source, answers: Iterable[tuple[float, Costs, Sequence[str]]], separator: str
) -> tuple[str, str]:
    """The lines of a recording in ``instances.log`` and ``segments.log``.

    Args:
        source: the recording.
        answers: for each segment the audio sent so far, ms, what it cost, and the words written.
        separator: between words; empty where every character counts by itself.
    """
    words: list[str] = []
    delays: list[float] = []
    elapsed: list[float] = []
    segments: list[SegmentRecord] = []
    compute_ms = 0.0
    for audio_ms, costs, written in answers:
        compute_ms += sum(costs.values())
        # Joined and cut again, as the evaluator does.
        said = separator.join(written).split()
        new = said if separator else list("".join(said))
        words += new
        delays += [audio_ms] * len(new)
        elapsed += [audio_ms + compute_ms] * len(new)
        segments.append(SegmentRecord(audio_ms, costs, len(written)))
    instance = {
        "index": source.index,
        "prediction": separator.join(words),
        "delays": delays,
        "elapsed": elapsed,
        "prediction_length": len(words),
        "reference": source.reference,
        "source": list(source.info),
        "source_length": source.length_ms,
    }
    return json.dumps(instance) + "\n", segment_line(source.index, segments)


@dataclass(frozen=True)
class _ReplayJob:
    """Replays a recording and keeps its lines of the two logs."""

    system: System
    forced: bool

    def start(self) -> Callable[[tuple[Source, Path, Path]], None]:
        writer = self.system.writer(time.process_time)
        separator = "" if self.system.options.output_unit == "char" else " "

        def work(task: tuple[Source, Path, Path]) -> None:
            source, encoded, path = task
            encoding: Encoding = read_kept(encoded)
            write_kept(path, _replay(encoding, writer, source, self.forced, separator))

        return work


def _replay(
    encoding: Encoding, writer: Writer, source: Source, forced: bool, separator: str
) -> tuple[str, str]:
    """One recording, as the agent goes through it: its lines of the two logs."""

    def answers() -> Iterator[tuple[float, Costs, list[str]]]:
        state = writer.init_state(source.reference if forced else None)
        for number, (segment, chunks) in enumerate(encoding.chunks(), 1):
            is_final = number == len(encoding.segments)
            turns, costs, state = writer.step(chunks, state, is_final=is_final)
            words = [word for turn in turns for word in turn.words]
            yield segment.audio_ms, sum_costs(segment.costs, costs), words

    return log_lines(source, answers(), separator)


def _settings(encodings: Encodings, system: System, forced: bool) -> dict[str, Any]:
    """Everything that decides what is in the logs, in words."""
    options = system.options
    recordings = [
        [source.index, source.content, source.reference, list(source.info)]
        for source in encodings.sources
    ]
    return {
        "echostream": echostream.__version__,
        "system": options.random_weights or options.checkpoint or "the shipped checkpoint",
        "model": system.fingerprint,
        "task": options.task,
        "chunk_ms": encodings.system.chunk_ms,
        "chunking": encodings.system.chunking,
        "segment_ms": encodings.segment_ms,
        "policy": system.policy_settings(),
        "decoder": system.decoder_settings(),
        "forced": forced,
        "recordings": len(encodings.sources),
        "digests": {
            "encodings": encodings.digest,
            "recordings": digest(recordings),
            "code": code_digest(WRITING_CODE),
        },
    }


def _is_finished(folder: Path, expected: str) -> bool:
    """Whether the folder holds this run, whole."""
    try:
        run = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        return run["digest"] == expected and all(
            sha256_of(folder / name) == run["logs"][name]
            for name in (INSTANCE_LOG_NAME, SEGMENT_LOG_NAME)
        )
    except (OSError, ValueError, LookupError, TypeError):
        return False
