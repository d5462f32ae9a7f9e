"""A run that can be killed between any two segments and goes on in another process.

The folder holds the recording in progress, and nothing once it has ended::

    answers.jsonl    a header, then one line for each segment: its audio's hash, what was answered
    stream           the state after it (see ``saved_stream``), replaced as a whole

A host that begins the unfinished recording again, as SimulEval does with ``--continue-unfinished``,
pushes again what was heard before. While the segments are those of the folder they get the answers
of then, and nothing is computed; after the last of them the stream goes on from its state. What
comes of the recording is what would have come of it without the interruption, and a recording that
is another one, or cut into other segments, is heard from its first sample.

Each segment costs the saving of one state and one line, whatever was heard before. Files are handed
to the system and not forced onto the disk: they outlive the process, not a power cut.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from echostream.audio.samples import Samples
from echostream.errors import ConfigError, StateMismatchError
from echostream.flight.recorder import describe_audio, describe_turn
from echostream.policy import needs_encoder_history
from echostream.session.costs import StageCosts
from echostream.session.saved_stream import fingerprint, restore_stream, save_stream
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.session.writer import Turn
from echostream.whole_file import replacing

logger = logging.getLogger(__name__)

FORMAT = "echostream-saved-run-1"
ANSWERS, STREAM = "answers.jsonl", "stream"

_COUNT_BYTES = 8


@dataclass
class _Recording:
    """What is known of one recording."""

    reference: str | None
    """What its forced writer is to write."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    """The answers, with what they were answers to."""
    stream: bytes = b""
    """State after the last of them."""


class SavedRun:
    """Steps a translator and keeps its stream in a folder; one stream at a time.

    Args:
        folder: made if it is not there.
        translator: that hears.

    Raises:
        ConfigError: if the folder cannot be used, or streams of the translator cannot be saved.
        StateMismatchError: if the folder holds an unfinished recording of other settings, or one
            that is damaged.
    """

    def __init__(self, folder: str | Path, translator: Translator) -> None:
        self._folder = Path(folder)
        self._translator = translator
        self._fingerprint = _fingerprint(translator)
        self.failed = False
        """Whether saving was given up; translating goes on."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._interrupted = self._read()
            (self._folder / ANSWERS).touch()
        except OSError as error:
            raise ConfigError(
                f"cannot use --save-state {folder}: {error.strerror}; expected a folder to write in"
            ) from error
        self._heard: list[tuple[Samples, int | None, bool]] = []
        self._repeating = False
        self._last: TranslatorState | None = None

    def step(
        self, samples: Samples, sample_rate: int | None, state: TranslatorState, *, is_final: bool
    ) -> tuple[Step, TranslatorState]:
        """As :meth:`Translator.step`, in whose place it stands.

        A state that is not the one that the call before gave begins another recording.
        """
        if state is not self._last:
            self._begin(state)
        if self._repeating:
            found = self._repeat(samples, sample_rate, state, is_final=is_final)
            if found is not None:
                self._last = found[1]
                return found
            for then in self._give_up_repeating():
                _, state = self._step(*then[:2], state, is_final=then[2])
        outcome = self._step(samples, sample_rate, state, is_final=is_final)
        self._last = outcome[1]
        return outcome

    def _begin(self, state: TranslatorState) -> None:
        """Another recording; it may be the interrupted one, which the folder then still holds."""
        own = state.writer.reference
        reference = None if own is None else " ".join(own)
        pending = self._interrupted
        self._heard = []
        self._repeating = (
            pending is not None
            and pending.reference == reference
            and state.listener.front_end.samples_heard == 0
        )
        if not self._repeating:
            self._start_file(reference, [])

    def _repeat(
        self, samples: Samples, sample_rate: int | None, state: TranslatorState, *, is_final: bool
    ) -> tuple[Step, TranslatorState] | None:
        """The answer of then; ``None`` if this is not what was heard then."""
        pending = self._interrupted
        assert pending is not None
        line = pending.lines[len(self._heard)]
        if line["heard"] != _description(samples, sample_rate, is_final):
            return None
        self._heard.append((samples, sample_rate, is_final))
        if len(self._heard) == len(pending.lines):
            state = restore_stream(self._translator, pending.stream)
            logger.info("the stream goes on after %.1f s of audio", state.listener.audio_ms / 1000)
            # Of the process that ended there may be a line more, or half of one.
            self._start_file(pending.reference, pending.lines, pending.stream)
            self._heard, self._repeating, self._interrupted = [], False, None
        turns = tuple(Turn(**{**turn, "words": tuple(turn["words"])}) for turn in line["turns"])
        return Step(turns, StageCosts(**line["costs"])), state

    def _give_up_repeating(self) -> list[tuple[Samples, int | None, bool]]:
        """It began as the interrupted recording did and is another one: what was not computed."""
        assert self._interrupted is not None
        heard, self._heard, self._repeating = self._heard, [], False
        self._start_file(self._interrupted.reference, [])
        return heard

    def _step(
        self, samples: Samples, sample_rate: int | None, state: TranslatorState, *, is_final: bool
    ) -> tuple[Step, TranslatorState]:
        step, after = self._translator.step(samples, sample_rate, state, is_final=is_final)
        if not self.failed:
            try:
                if is_final:
                    self._clear()
                else:
                    line = {
                        "heard": _description(samples, sample_rate, is_final),
                        "turns": [describe_turn(turn) for turn in step.turns],
                        "costs": asdict(step.costs),
                    }
                    self._keep(line, save_stream(self._translator, after))
            except (OSError, StateMismatchError) as error:
                self._fail(error)
        return step, after

    def _start_file(
        self, reference: str | None, lines: list[dict[str, Any]], stream: bytes | None = None
    ) -> None:
        """The answers so far, in a new file; without a state they count for nothing yet."""
        if self.failed:
            return
        header = {"format": FORMAT, "fingerprint": self._fingerprint, "reference": reference}
        text = "".join(json.dumps(each) + "\n" for each in (header, *lines))
        try:
            if stream is None:
                # First: the state of another recording must not be found beside these answers.
                (self._folder / STREAM).unlink(missing_ok=True)
            self._replace(ANSWERS, text.encode())
        except OSError as error:
            self._fail(error)
        self._num_lines = len(lines)

    def _keep(self, line: dict[str, Any], stream: bytes) -> None:
        # The state says how many answers belong to it, so a process may end between the two.
        with (self._folder / ANSWERS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._num_lines += 1
        self._replace(STREAM, self._num_lines.to_bytes(_COUNT_BYTES, "little") + stream)

    def _replace(self, name: str, data: bytes) -> None:
        with replacing(self._folder / name) as part:
            part.write_bytes(data)

    def _clear(self) -> None:
        (self._folder / STREAM).unlink(missing_ok=True)
        self._replace(ANSWERS, b"")

    def _fail(self, error: Exception) -> None:
        self.failed = True
        logger.warning(
            "%s is no longer kept up to date, the translation goes on: %s", self._folder, error
        )

    def _read(self) -> _Recording | None:
        """The unfinished recording in the folder, if there is one."""
        path = self._folder / STREAM
        if not path.exists():
            return None
        data = path.read_bytes()
        advice = f"go on with what saved it, or delete {self._folder} to begin anew"
        try:
            text = (self._folder / ANSWERS).read_text(encoding="utf-8", errors="replace")
            number = int.from_bytes(data[:_COUNT_BYTES], "little")
            header, *lines = [json.loads(line) for line in text.split("\n")[: number + 1]]
            if header["format"] != FORMAT or len(lines) != number or number == 0:
                raise ValueError(f"{len(lines)} answers of {number}")
            own = _Recording(header["reference"], lines, data[_COUNT_BYTES:])
            found = header["fingerprint"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StateMismatchError(
                f"--save-state {self._folder} is damaged ({error}); {advice}"
            ) from error
        if found != self._fingerprint:
            raise StateMismatchError(
                f"--save-state {self._folder} holds an unfinished recording of other settings "
                f"(fingerprint {found:.16}, expected {self._fingerprint[:16]}); {advice}"
            )
        # Now, and not in mid-stream, is the time to find that it cannot be used.
        restore_stream(self._translator, own.stream)
        return own


def _fingerprint(translator: Translator) -> str:
    """Of a translator whose streams can be saved."""
    try:
        save_stream(translator, translator.init_state())
    except StateMismatchError as error:
        raise ConfigError(f"--save-state was given, but {error}") from error
    if needs_encoder_history(translator.writer.policy):
        raise ConfigError(
            "--save-state was given, but the policy keeps all encoder frames, which are not saved; "
            "expected a policy whose memory is in Decision.state"
        )
    return fingerprint(translator)


def _description(samples: Samples, sample_rate: int | None, is_final: bool) -> dict[str, Any]:
    described = {**describe_audio(samples, sample_rate), "final": is_final}
    return described if described.get("shape") != [0] else {**described, "sample_rate": None}
