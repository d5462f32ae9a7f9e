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

import base64
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echostream.audio.description import describe_audio
from echostream.codec import decode, encode
from echostream.errors import ConfigError, StateMismatchError
from echostream.session.saved_stream import fingerprint, restore_stream, save_stream
from echostream.session.session import Segment, StreamObserver
from echostream.session.translator import Step, Translator, TranslatorState
from echostream.whole_file import replacing

logger = logging.getLogger(__name__)

FORMAT = "echostream-saved-run-2"
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
    """Keeps a stream in a folder; of several streams at a time the one that began last.

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
        self.failed = False
        """Whether saving was given up; translating goes on."""
        self._current: _SavedStream | None = None
        try:
            save_stream(translator, translator.init_state())
        except StateMismatchError as error:
            raise ConfigError(f"--save-state was given, but {error}") from error
        self._fingerprint = fingerprint(translator)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._interrupted = self._read()
            (self._folder / ANSWERS).touch()
        except OSError as error:
            raise ConfigError(
                f"cannot use --save-state {folder}: {error.strerror}; expected a folder to write in"
            ) from error

    def begin(self, recording: int, state: TranslatorState) -> StreamObserver:
        """See :class:`~echostream.session.session.Observer`.

        The recording may be the interrupted one, which the folder then still holds.
        """
        own = state.writer.reference
        reference = None if own is None else " ".join(own)
        pending = self._interrupted
        if pending is not None and pending.reference != reference:
            pending = None
        if pending is None:
            self._start_file(reference, [])
        self._current = _SavedStream(self, pending)
        return self._current

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


class _SavedStream(StreamObserver):
    """One recording; ``pending`` is the interrupted one while this is the same as far as known."""

    def __init__(self, run: SavedRun, pending: _Recording | None) -> None:
        self._run = run
        self._pending = pending
        self._heard: list[Segment] = []
        self._recalled = False

    def recall(
        self, segment: Segment, state: TranslatorState
    ) -> tuple[Step | None, TranslatorState]:
        """The answer of then, if this is what was heard then."""
        pending, run = self._pending, self._run
        if pending is None or run._current is not self:
            return None, state
        line = pending.lines[len(self._heard)]
        if line["heard"] != _description(segment):
            # It began as the interrupted recording did and is another one.
            return None, self._give_up(pending, state)
        self._heard.append(segment)
        self._recalled = True
        if len(self._heard) == len(pending.lines):
            state = restore_stream(run._translator, pending.stream)
            logger.info("the stream goes on after %.1f s of audio", state.listener.audio_ms / 1000)
            # Of the process that ended there may be a line more, or half of one.
            run._start_file(pending.reference, pending.lines, pending.stream)
            self._pending = run._interrupted = None
        step: Step = decode(base64.b64decode(line["step"]), "answer")
        return step, state

    def stepped(self, segment: Segment, step: Step, state: TranslatorState) -> None:
        """Keep what came of a segment; nothing once the recording has ended."""
        run = self._run
        recalled, self._recalled = self._recalled, False
        if recalled or run.failed or run._current is not self:
            return
        try:
            if segment.is_final:
                run._clear()
            else:
                data = base64.b64encode(encode(step, "answer")).decode("ascii")
                line = {"heard": _description(segment), "step": data}
                run._keep(line, save_stream(run._translator, state))
        except (OSError, StateMismatchError) as error:
            run._fail(error)

    def _give_up(self, pending: _Recording, state: TranslatorState) -> TranslatorState:
        """Hear what was recalled, which was not computed."""
        heard, self._heard, self._pending = self._heard, [], None
        self._run._start_file(pending.reference, [])
        for segment in heard:
            step, state = self._run._translator.step(
                segment.samples, segment.sample_rate, state, is_final=segment.is_final
            )
            self.stepped(segment, step, state)
        return state


def _description(segment: Segment) -> dict[str, Any]:
    audio = describe_audio(segment.samples, segment.sample_rate)
    described = {**audio, "final": segment.is_final}
    return described if described.get("shape") != [0] else {**described, "sample_rate": None}
