"""``results.json``: all that was measured, in plain values, for the report and for others."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import echostream
from echostream.audio import read_audio
from echostream.config import ChunkConformerConfig
from echostream.errors import DataError
from echostream.machine import processor_name
from echostream.model import SpeechModel
from echostream.scoring.instance import Instance
from echostream.session.segment_log import LOG_NAME as SEGMENT_LOG_NAME
from echostream.session.segment_log import SegmentRecord
from eval.compare.grid import Run
from eval.compare.plan import ComparisonPlan, SystemEntry
from eval.compare.timelines import outline, timeline
from eval.sweep import Source

FORMAT = "echostream-compare-2"
RESULTS_NAME = "results.json"


def system_of(entry: SystemEntry, model: SpeechModel) -> dict[str, Any]:
    """The entry of ``results.json`` for one system."""
    config = model.config.encoder
    is_baseline = isinstance(config, ChunkConformerConfig)
    mode = "stateful"
    if isinstance(config, ChunkConformerConfig):
        mode = entry.encoder_mode or config.mode
    return {
        "name": entry.name,
        "label": entry.label,
        "family": "streamspeech" if is_baseline else "echostream",
        "mode": mode,
        "weights": entry.checkpoint or f"random, {entry.random_weights}",
        "trained": entry.trained,
        "parameters": model.num_parameters,
        "frame_ms": model.encoder.frame_ms,
    }


def machine(clock: str) -> dict[str, Any]:
    """What the costs were measured on, and how."""
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "threads": 1,
        "clock": {"cpu": "CPU time of the thread", "wall": "wall time"}[clock],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "echostream": echostream.__version__,
    }


def read_segment_records(folder: Path) -> dict[int, list[SegmentRecord]]:
    """``segments.log`` of a run, by index.

    Raises:
        DataError: if it cannot be read.
    """
    path = folder / SEGMENT_LOG_NAME
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {
            line["index"]: [SegmentRecord.from_json(row) for row in line["segments"]]
            for line in lines
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be used ({error}); expected what a replay writes; remove the folder "
            "and run the command again"
        ) from error


def shown_recordings(
    runs: Sequence[tuple[Run, Sequence[Instance]]], sources: Sequence[Source], number: int
) -> list[Source]:
    """Recordings for the timelines: of those that all systems heard, evenly spread in length.

    The longest comes first, as there is most to see in it.
    """
    heard = set.intersection(*({ins.index for ins in instances} for _, instances in runs))
    spoken = sorted(
        (source for source in sources if source.index in heard), key=lambda s: -s.length_ms
    )
    return [spoken[i * len(spoken) // number] for i in range(min(number, len(spoken)))]


def utterance_of(
    source: Source,
    source_text: str,
    runs: Sequence[tuple[Run, Sequence[Instance], dict[int, list[SegmentRecord]]]],
) -> dict[str, Any]:
    """The entry of ``results.json`` for one recording with its timelines."""
    samples, _ = read_audio(source.path)
    mono = samples.mean(axis=1) if samples.ndim == 2 else samples
    entries = []
    for run, instances, records in runs:
        instance = next(ins for ins in instances if ins.index == source.index)
        drawn = timeline(instance.prediction.split(), records[source.index])
        entries.append(
            {
                "system": run.entry.name,
                "policy_label": run.policy,
                "segment_ms": run.segment_ms,
                "prediction": instance.prediction,
                **drawn,
            }
        )
    return {
        "index": source.index,
        "id": Path(source.path).stem,
        "seconds": source.length_ms / 1000,
        "source_text": source_text,
        "reference": source.reference,
        "waveform": outline(mono),
        "runs": entries,
    }


def assemble(
    plan: ComparisonPlan,
    *,
    command: str,
    clock: str,
    data: dict[str, Any],
    systems: list[dict[str, Any]],
    points: list[dict[str, Any]],
    paired: list[dict[str, Any]],
    lengths: list[dict[str, Any]],
    utterances: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole file."""
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(clock),
        "resampling": {"resamples": plan.resamples, "seed": plan.seed},
        "data": data,
        "systems": systems,
        "points": points,
        "paired": paired,
        "lengths": lengths,
        "utterances": utterances,
    }
