"""Options of the agent: one dataclass, one parser, one tolerant reader.

Hosts other than SimulEval pass a bare namespace without the parser's defaults, so every option has
its default here and :meth:`AgentOptions.from_namespace` takes what it finds.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import yaml

from echostream import decoder, policy
from echostream.config import CONFORMER_MODES
from echostream.constants import BACKENDS, CHUNK_MULTIPLE, ENCODER_FRAME_MS, PRECISIONS
from echostream.errors import ConfigError
from echostream.session.translator import TASKS

_GROUP_MS = CHUNK_MULTIPLE * ENCODER_FRAME_MS


@dataclass(frozen=True)
class AgentOptions:
    """What the command line or a host can say; ``None`` leaves it to the checkpoint's config."""

    checkpoint: str | None = None
    random_weights: str | None = None
    task: str = "s2tt"
    policy: str | None = None
    policy_options: str | None = None
    decoder: str | None = None
    decoder_options: str | None = None
    chunk_ms: int | None = None
    left_context_ms: int | None = None
    max_future_frames: str | None = None
    encoder_mode: str | None = None
    forced_target: str | None = None
    forced_start: int = 0
    backend: str = "torch"
    precision: str = "float32"
    segment_log: str | None = None
    record: str | None = None
    record_audio: bool = False
    save_state: str | None = None
    threads: int = 1
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"--task is {self.task!r}; expected one of {', '.join(TASKS)}")
        if self.checkpoint is not None and self.random_weights is not None:
            raise ConfigError(
                "--checkpoint and --random-weights were both given; expected one of them"
            )
        if self.random_weights is not None and self.forced_target is None:
            raise ConfigError(
                "--random-weights needs --forced-target FILE: an untrained decoder has no words to "
                "write, only a schedule to keep"
            )
        if self.encoder_mode not in (None, *CONFORMER_MODES):
            raise ConfigError(
                f"--encoder-mode is {self.encoder_mode!r}; expected one of "
                f"{', '.join(CONFORMER_MODES)}"
            )
        if self.record_audio and self.record is None:
            raise ConfigError(
                "--record-audio was given without --record; expected --record FILE beside it"
            )
        if self.save_state is not None and (self.record or self.segment_log):
            raise ConfigError(
                "--save-state was given with --record or --segment-log, which begin anew in each "
                "process and would lack what came before; expected one or the other"
            )
        for name, known in (("backend", BACKENDS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"--{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        if self.threads < 1:
            raise ConfigError(f"--threads is {self.threads}; expected at least 1")
        if self.forced_start < 0:
            raise ConfigError(f"--forced-start is {self.forced_start}; expected 0 or more")

    @classmethod
    def from_namespace(cls, namespace: object) -> AgentOptions:
        """The options in any object with attributes; what it lacks keeps its default."""
        found = {
            field.name: value
            for field in dataclasses.fields(cls)
            if (value := getattr(namespace, field.name, None)) is not None
        }
        return cls(**found)


def parse_options(text: str | None, flag: str) -> dict[str, Any]:
    """``"k=3,stride=2"`` to ``{"k": 3, "stride": 2}``; values are read as YAML reads them."""
    result: dict[str, Any] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"{flag} has {part.strip()!r}; expected name=value, several joined by commas, "
                "such as k=3,stride=2"
            )
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"{flag} {key.strip()} is {value!r}; expected a number, a word, true or false"
            ) from error
        if isinstance(parsed, float) and math.isnan(parsed):
            raise ConfigError(f"{flag} {key.strip()} is {value!r}; expected a number")
        result[key.strip()] = parsed
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the agent's options to a host's parser, in a group of their own."""
    group = parser.add_argument_group(
        "EchoStream",
        "Chunk and segment are independent: the encoder works in chunks of --chunk-ms whatever "
        "--source-segment-size is.",
    )
    add = group.add_argument
    add(
        "--checkpoint",
        metavar="DIR",
        help="checkpoint folder (default: the one shipped, tiny-es-en)",
    )
    add(
        "--random-weights",
        metavar="YAML",
        help="untrained model of this configuration instead of a checkpoint; for latency with "
        "--forced-target",
    )
    add("--task", choices=TASKS, help="translate (s2tt) or transcribe (asr); default s2tt")
    add(
        "--policy",
        metavar="NAME",
        help=f"when to write: {', '.join(policy.names())}, or package.module:Class "
        "(default: the checkpoint's)",
    )
    add(
        "--policy-options",
        metavar="K=V,...",
        help="options of the policy, such as k=3,stride=2; `echostream list` describes them",
    )
    add(
        "--decoder",
        metavar="NAME",
        help=f"CTC search: {', '.join(decoder.names())}, or package.module:Class "
        "(default: the checkpoint's)",
    )
    add("--decoder-options", metavar="K=V,...", help="options of the search, such as beam_size=4")
    add(
        "--chunk-ms",
        type=int,
        metavar="MS",
        help=f"audio that the encoder takes at once, a multiple of {_GROUP_MS} "
        "(default: the checkpoint's)",
    )
    add(
        "--left-context-ms",
        type=int,
        metavar="MS",
        help=f"earlier audio that attention sees, a multiple of {_GROUP_MS} "
        "(default: the checkpoint's)",
    )
    add(
        "--max-future-frames",
        metavar="L",
        help="look-ahead inside the chunk at each stack's rate: 'chunk', or a number, 0 for "
        "causal (default: the checkpoint's)",
    )
    add(
        "--encoder-mode",
        choices=CONFORMER_MODES,
        help="of the baseline's chunk-Conformer: with exact caches, or from the first sample at "
        "every segment, as published",
    )
    add(
        "--forced-target",
        metavar="FILE",
        help="forced writer: write the words of these references, one line a recording, when the "
        "policy allows",
    )
    add(
        "--forced-start",
        type=int,
        metavar="N",
        help="line of --forced-target, from 0, of the first recording (default 0); give what "
        "--start-index is",
    )
    add(
        "--backend",
        choices=BACKENDS,
        help="what runs the encoder: torch, a compiled form of it, or auto for the fastest that is "
        "installed (default torch)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help="of a compiled encoder's weights (default float32)",
    )
    add(
        "--segment-log",
        metavar="FILE",
        help="write what each segment cost, stage by stage; beside instances.log and named "
        "segments.log, `echostream score` uses it",
    )
    add(
        "--record",
        metavar="FILE",
        help="flight recorder: write what came in, what was decided and why; `echostream replay` "
        "does it again and points to the first difference",
    )
    add(
        "--record-audio",
        action="store_true",
        default=None,
        help="put the audio into the record, about 85 kB a second at 16 kHz, so that it can be "
        "replayed without the recordings",
    )
    add(
        "--save-state",
        metavar="DIR",
        help="keep the recording in progress in this folder, segment by segment: after a crash the "
        "same command with --continue-unfinished goes on where it ended",
    )
    add("--threads", type=int, metavar="N", help="CPU threads of the model (default 1)")
    add(
        "--verbose",
        action="store_true",
        default=None,
        help="show every READ and WRITE as it happens, on standard error",
    )
