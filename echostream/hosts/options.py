"""Options of a host and of debugging, and what comes of them: observers of sessions."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from echostream.errors import ConfigError, DataError
from echostream.flight.record import FlightRecorder
from echostream.session.options import SystemOptions, read_options, refuse_unknown
from echostream.session.saved_run import SavedRun
from echostream.session.segment_log import SegmentLog
from echostream.session.session import Observer, Segment, StreamObserver
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Turn
from echostream.text import read_lines


@dataclass(frozen=True)
class HostOptions:
    """What a host does with streams besides translating them."""

    forced_target: str | None = None
    start_index: int = 0
    """Number of the first recording; SimulEval's ``--start-index``."""
    continues: bool = False
    """Whether an earlier process has done the recordings before ``start_index``."""
    segment_log: str | None = None
    record: str | None = None
    record_audio: bool = False
    save_state: str | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.record_audio and self.record is None:
            raise ConfigError(
                "--record-audio was given without --record; expected --record FILE beside it"
            )
        if self.save_state is not None and (self.record or self.segment_log):
            raise ConfigError(
                "--save-state was given with --record or --segment-log, which begin anew in each "
                "process and would lack what came before; expected one or the other"
            )


def options_of(values: object, *, others: bool = True) -> tuple[SystemOptions, HostOptions]:
    """The options in whatever a host passes: a mapping or any object with attributes.

    Args:
        values: a mapping, a namespace, or ``None`` for all defaults.
        others: whether the host's own options are among them.

    Raises:
        ConfigError: for an option that is misspelt or wrong.
    """
    both = [field.name for cls in (SystemOptions, HostOptions) for field in dataclasses.fields(cls)]
    written = values if isinstance(values, Mapping) else getattr(values, "__dict__", {})
    found = {str(key).replace("-", "_"): value for key, value in written.items()}
    # Some hosts keep options on the class.
    found |= {name: getattr(values, name) for name in both if hasattr(values, name)}
    refuse_unknown(found, both, others=others)
    system = read_options(SystemOptions, found, others=True)
    host = read_options(HostOptions, found, others=True)
    if system.random_weights is not None and host.forced_target is None:
        raise ConfigError(
            "--random-weights needs --forced-target FILE: an untrained decoder has no words to "
            "write, only a schedule to keep"
        )
    return system, host


def build_observers(
    host: HostOptions, system: SystemOptions, translator: Translator
) -> list[Observer]:
    """Those that the options ask for, for any sessions of the translator.

    Raises:
        ConfigError: if a file cannot be written, or streams cannot be saved.
        StateMismatchError: if ``save_state`` holds a recording of other settings.
    """
    observers: list[Observer] = []
    if host.segment_log is not None:
        observers.append(SegmentLog(host.segment_log, continues=host.continues))
    if host.record is not None:
        plain = asdict(system)
        observers.append(
            FlightRecorder(host.record, translator, plain, with_audio=host.record_audio)
        )
    if host.save_state is not None:
        observers.append(SavedRun(host.save_state, translator))
    if host.verbose:
        observers.append(TurnPrinter())
    return observers


class TurnPrinter(StreamObserver):
    """Shows every READ and WRITE of all streams as it happens, on standard error."""

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver:
        """See :class:`~echostream.session.session.Observer`."""
        return self

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """A line for each turn."""
        for turn in step.turns:
            print(turn_line(turn), file=sys.stderr)


def turn_line(turn: Turn) -> str:
    """One line: when, READ or WRITE, what, why."""
    what = f"WRITE {str(turn.output)!r}" if turn.words else "READ"
    return f"{turn.audio_ms / 1000:8.2f} s  chunk {turn.num_chunks:4d}  {what}  ({turn.reason})"


def read_forced_target(path: str) -> list[str]:
    """The lines of a forced writer's references.

    Raises:
        ConfigError: if the file cannot be read or has no lines.
    """
    try:
        lines = read_lines(Path(path), "--forced-target")
    except DataError as error:
        raise ConfigError(str(error)) from error
    if lines in ([], [""]):
        raise ConfigError(f"--forced-target {path} is empty; expected one line for each recording")
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the host's options to a parser."""
    add = parser.add_argument_group("EchoStream: logs and debugging").add_argument
    add(
        "--forced-target",
        metavar="FILE",
        help="forced writer: write the words of these references, one line a recording, when the "
        "policy allows",
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
    add(
        "--verbose",
        action="store_true",
        default=None,
        help="show every READ and WRITE as it happens, on standard error",
    )
