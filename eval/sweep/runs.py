"""Level 3: a policy over what is kept, and the logs that SimulEval and the agent would write."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import echostream
from echostream.decoder import Decoder
from echostream.decoder.generator import EncodedChunk
from echostream.errors import ConfigError
from echostream.policy import Policy
from echostream.session.build import HEADS
from echostream.session.costs import sum_costs
from echostream.session.segment_log import LOG_NAME as SEGMENT_LOG_NAME
from echostream.session.segment_log import SegmentRecord, segment_line
from echostream.whole_file import write_whole
from eval.sweep.digests import WRITING_CODE, code_digest, digest
from eval.sweep.encoding_file import FRAMES, Encoding, read_encoding
from eval.sweep.encodings import Encodings
from eval.sweep.searches import MovableClock, RecordedDecoder, Searches, SearchRecord, search
from eval.sweep.sources import Source
from eval.sweep.system import System, clock_named
from eval.sweep.workers import Progress, one_thread, quiet

INSTANCE_LOG_NAME = "instances.log"
RUN_NAME = "run.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Line:
    """One recording's lines of the two logs."""

    instance: str
    segments: str


def run_policy(
    encodings: Encodings,
    *,
    output: str | Path,
    policy: str | None = None,
    policy_options: str | None = None,
    decoder: str | None = None,
    decoder_options: str | None = None,
    forced: bool = False,
    jobs: int = 1,
    progress: Progress = quiet,
) -> Path:
    """Run a policy over all recordings and write ``instances.log`` and ``segments.log``.

    The first is what SimulEval 1.1.4 writes, in words, byte for byte but for the elapsed times:
    an elapsed time is the delay plus all compute so far, as there, but the compute is the kept cost
    of front end, encoder, heads and searches plus the measured cost of making words and deciding,
    without the evaluator's own. The second is the agent's ``--segment-log``. ``run.json`` comes
    last; where it is there and its digest fits, nothing is done.

    Args:
        encodings: made by :func:`eval.sweep.encode`.
        output: folder of the run.
        policy: ``--policy`` of the agent; ``None`` for that of ``encodings.system``.
        policy_options: ``--policy-options`` likewise; without ``policy`` they are for its policy.
        decoder: ``--decoder`` likewise.
        decoder_options: ``--decoder-options`` likewise.
        forced: write the words of the references on the policy's schedule, as ``--forced-target``
            with the list of references does.
        jobs: processes for searches that are not there yet.
        progress: shows how far it is.

    Returns the folder.

    Raises:
        ConfigError: for options that are wrong, and for random weights without ``forced``.
        DataError: if something kept was damaged in the meantime or a log cannot be written.
    """
    changes: dict[str, str | None] = {}
    if policy is not None or policy_options is not None:
        changes |= {"policy": policy or encodings.system.options.policy}
        changes |= {"policy_options": policy_options}
    if decoder is not None or decoder_options is not None:
        changes |= {"decoder": decoder or encodings.system.options.decoder}
        changes |= {"decoder_options": decoder_options}
    system = encodings.system.with_options(**changes)
    if system.options.random_weights is not None and not forced:
        raise ConfigError(
            "an untrained model has no words to write; expected forced=True (--forced), which "
            "writes the references' words on the policy's schedule"
        )
    made_policy = system.policy()
    searches = search(encodings, system, jobs=jobs, progress=progress)
    settings = _settings(searches, forced)
    folder = Path(output)
    if _is_finished(folder, _digest(settings)):
        logger.info("%s is finished", folder)
        return folder
    with one_thread():
        lines = [
            _replay_source(searches, made_policy, source, forced)
            for source in progress(encodings.sources, len(encodings.sources), f"{folder.name}")
        ]
    _write(folder, settings, lines)
    return folder


def run_compute_ms(folder: str | Path) -> float:
    """Compute of all stages and recordings of a run, from its ``segments.log``, ms."""
    lines = (Path(folder) / SEGMENT_LOG_NAME).read_text(encoding="utf-8").splitlines()
    return sum(
        sum(segment["costs_ms"].values())
        for line in lines
        for segment in json.loads(line)["segments"]
    )


def instance_line(
    source: Source,
    words: list[str],
    delays: list[float],
    elapsed: list[float],
    separator: str = " ",
) -> str:
    """The line of ``instances.log`` as SimulEval 1.1.4 writes it; one time for each word, ms.

    ``separator`` is empty where the words are characters (``--eval-latency-unit char``).
    """
    values = {
        "index": source.index,
        "prediction": separator.join(words),
        "delays": delays,
        "elapsed": elapsed,
        "prediction_length": len(words),
        "reference": source.reference,
        "source": list(source.info),
        "source_length": source.length_ms,
    }
    return json.dumps(values) + "\n"


def _replay_source(
    searches: Searches,
    policy: Policy,
    source: Source,
    forced: bool,
) -> _Line:
    """One recording, as the agent goes through it."""
    encodings = searches.encodings
    encoding, tensors = read_encoding(encodings.path(source), (FRAMES,))
    clock = MovableClock(clock_named(encodings.clock))
    writer = searches.system.writer(policy, _replayed(searches.load(source), clock), clock)
    state = writer.init_state(source.reference if forced else None)
    in_characters = searches.system.options.output_unit == "char"
    words: list[str] = []
    delays: list[float] = []
    elapsed: list[float] = []
    records: list[SegmentRecord] = []
    compute_ms = 0.0
    for number, (segment, frames) in enumerate(encoding.split(tensors[FRAMES]), 1):
        chunks = [_chunk(part, encoding, searches.system) for part in frames]
        is_final = number == len(encoding.segments)
        turns, costs, state = writer.step(chunks, state, is_final=is_final)
        costs = sum_costs(segment.costs, costs)
        compute_ms += sum(costs.values())
        # Joined and cut again, as the evaluator does.
        written = [word for turn in turns for word in turn.words]
        new = (
            list("".join("".join(written).split())) if in_characters else " ".join(written).split()
        )
        words += new
        delays += [segment.audio_ms] * len(new)
        elapsed += [segment.audio_ms + compute_ms] * len(new)
        records.append(SegmentRecord(segment.audio_ms, costs, len(written)))
    return _Line(
        instance_line(source, words, delays, elapsed, "" if in_characters else " "),
        segment_line(source.index, records),
    )


def _replayed(records: tuple[SearchRecord, ...], clock: MovableClock) -> dict[str, Decoder[Any]]:
    return {
        head: RecordedDecoder(record, clock)
        for head, record in zip(("asr", "st"), records, strict=False)
    }


def _chunk(frames: torch.Tensor, encoding: Encoding, system: System) -> EncodedChunk:
    """``[n, C]`` frames as the writer takes them; the log-probabilities are not needed again."""
    nothing = frames.new_zeros(len(frames), 0)
    return EncodedChunk(
        frames=frames,
        log_probs=dict.fromkeys(HEADS[system.options.task], nothing),
        is_whole=len(frames) == encoding.chunk_size,
    )


def _settings(searches: Searches, forced: bool) -> dict[str, Any]:
    """Everything that decides what is in the logs, in words."""
    encodings, system = searches.encodings, searches.system
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
        "clock": encodings.clock,
        "policy": system.policy_settings(),
        "decoder": system.decoder_settings(),
        "forced": forced,
        "recordings": len(encodings.sources),
        "digests": {
            "encodings": encodings.digest,
            "searches": searches.digest,
            "recordings": digest(recordings),
            "code": code_digest(WRITING_CODE),
        },
    }


def _digest(settings: dict[str, Any]) -> str:
    """Of a run; where the weights lie does not matter, they have a digest of their own."""
    return digest({key: value for key, value in settings.items() if key != "system"})


def _is_finished(folder: Path, expected: str) -> bool:
    """Whether the folder holds this run, whole."""
    try:
        run = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        return run["digest"] == expected and all(
            _sum((folder / name).read_bytes()) == run["logs"][name]
            for name in (INSTANCE_LOG_NAME, SEGMENT_LOG_NAME)
        )
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _write(folder: Path, settings: dict[str, Any], lines: list[_Line]) -> None:
    logs = {
        INSTANCE_LOG_NAME: "".join(line.instance for line in lines).encode(),
        SEGMENT_LOG_NAME: "".join(line.segments for line in lines).encode(),
    }
    for name, data in logs.items():
        write_whole(folder / name, data)
    run = {
        "digest": _digest(settings),
        "settings": settings,
        "logs": {name: _sum(data) for name, data in logs.items()},
    }
    write_whole(folder / RUN_NAME, json.dumps(run, indent=2, default=str).encode() + b"\n")


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
