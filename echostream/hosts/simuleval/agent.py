"""The SimulEval agent.

Works on the released SimulEval 1.1.4 and on its main branch, stateful (``policy()``) and stateless
(``policy(states)``), and for other hosts that build agents from a bare namespace. What SimulEval
asks of an agent is written down in ``docs/agent.md``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from simuleval.agents import SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.data.segments import Segment as SimulEvalSegment
from simuleval.data.segments import SpeechSegment

from echostream import system_arguments
from echostream.errors import AudioFormatError, ConfigError, EchoStreamError
from echostream.hosts.options import (
    HostOptions,
    add_arguments,
    build_observers,
    options_of,
    read_forced_target,
)
from echostream.hosts.simuleval.states import EchoStreamStates
from echostream.session.build import build_translator, require_languages
from echostream.session.options import SystemOptions
from echostream.session.saved_run import SavedRun
from echostream.session.session import Segment, Session
from echostream.session.writer import Output, Speech

logger = logging.getLogger(__name__)


class EchoStreamAgent(SpeechToTextAgent):  # type: ignore[misc]
    """Speech to text, task ``s2tt`` or ``asr``."""

    # Some hosts read it from the class before any segment has set it.
    tgt_lang: str | None = None

    def __init__(self, args: Any = None) -> None:
        self.options, self.host_options = self.read_options(args)
        self.translator = build_translator(self.options)
        forced = self.host_options.forced_target
        self._references = None if forced is None else read_forced_target(forced)
        self._observers = build_observers(self.host_options, self.options, self.translator)
        super().__init__(args)
        # SimulEval says it again by to(); other hosts only here.
        device = getattr(args, "device", None)
        if device not in (None, "cpu"):
            self.to(str(device))

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """Add the agent's options; none of SimulEval's own is redefined."""
        system_arguments.add_arguments(parser)
        add_arguments(parser)

    @classmethod
    def read_options(cls, args: Any) -> tuple[SystemOptions, HostOptions]:
        """The options in whatever a host passes.

        Raises:
            ConfigError: for an option that is wrong, and for a log that SimulEval cannot go on
                with.
        """
        system, host = options_of(args)
        done = recordings_done(args)
        return system, replace(host, start_index=done, continues=True) if done else host

    @classmethod
    def from_args(cls, args: Any) -> EchoStreamAgent:
        """The agent for SimulEval's command line: what is wrong is said in one line."""
        try:
            return cls(args)
        except EchoStreamError as error:
            raise SystemExit(f"echostream: error: {error}") from error

    def build_states(self) -> EchoStreamStates:
        """States of one more stream; they share the model."""
        config = self.translator.listener.model.config

        def check_target(language: str | None) -> None:
            if self.options.task != "asr":
                require_languages(config, target=language)

        nan_policy: Any = config.audio.nan_policy
        return EchoStreamStates(self._begin, nan_policy, check_target)

    def to(self, device: str, *_: object, fp16: bool = False, **__: object) -> None:
        """Move the model to ``cpu``, ``cuda``, ``cuda:0`` or ``gpu`` (the first GPU)."""
        name = "cuda" if device == "gpu" else device
        try:
            wanted = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(
                f"--device is {device!r}; expected cpu, cuda, cuda:N or gpu"
            ) from error
        if wanted.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"--device is {device!r} but there is no usable GPU; expected --device cpu"
            )
        if fp16:
            logger.warning("half precision is not supported; the model runs in float32")
        if wanted.type == "cuda":
            # PyTorch convolves in TF32 by default, and a stream would then differ from the whole
            # recording in the third digit.
            torch.backends.cudnn.allow_tf32 = False
        self.device = device
        self.translator.listener.to(wanted)
        self.states = self.build_states()

    def push(
        self,
        source_segment: SimulEvalSegment,
        states: EchoStreamStates | None = None,
        upstream_states: list[Any] | None = None,
    ) -> None:
        """Take a segment; what waits to be heard stays good if it is refused.

        Raises:
            AudioFormatError: for audio that cannot be used.
            StreamClosedError: for audio after the end of the source.
        """
        states = self.states if states is None else states
        try:
            # As SimulEval's own, which wants segments of its own class.
            states.upstream_states = upstream_states or []
            states.update_config(getattr(source_segment, "config", None) or {})
            states.update_source(source_segment)
        except AudioFormatError as error:
            if states.session is not None:
                segment = Segment(
                    getattr(source_segment, "content", None),  # type: ignore[arg-type]
                    getattr(source_segment, "sample_rate", None),
                    bool(getattr(source_segment, "finished", False)),
                )
                with states.turn:
                    states.refused.append((segment, error))
                    if not states.unread:
                        self._tell_refused(states, states.session)
            # SimulEval passes no name of a file, but they come in the order of its list.
            raise AudioFormatError(
                f"recording {states.stream_number + 1} of this run: {error}"
            ) from error

    def policy(self, states: EchoStreamStates | None = None) -> Action:
        """Hear what is unread; read on, or write the words that are due."""
        states = self.states if states is None else states
        with states.turn:
            samples, finished = states.take_unread()
            if len(samples) == 0 and not finished:
                return ReadAction()
            session = states.session
            if session is None:
                raise ConfigError(
                    f"--forced-target has {len(self._references or ())} lines but this is "
                    f"recording {self.host_options.start_index + states.stream_number + 1}; "
                    "expected one line for each recording"
                )
            step = session.push(samples, states.source_sample_rate, is_final=finished)
            self._tell_refused(states, session)
            if step.output or finished:
                return WriteAction(content_of(step.output), finished=finished)
            return ReadAction()

    def _tell_refused(self, states: EchoStreamStates, session: Session) -> None:
        """What was refused behind the audio that has been heard now; logs tell it in order."""
        refused, states.refused = states.refused, []
        for segment, error in refused:
            session.refuse(segment, error)

    def _begin(self, states: EchoStreamStates) -> Session | None:
        recording = self.host_options.start_index + states.stream_number
        reference = None
        if self._references is not None:
            if recording >= len(self._references):
                # No error yet: the evaluator resets once more after the last recording.
                return None
            reference = self._references[recording]
        # States of another host's streams are that host's to keep.
        own = getattr(self, "states", states) is states
        observers = [each for each in self._observers if own or not isinstance(each, SavedRun)]
        return Session(
            self.translator, recording=recording, reference=reference, observers=observers
        )


def recordings_done(args: Any) -> int:
    """Recordings before the one that SimulEval goes on with, by its own rule: that after the last
    line of the log. 0 without ``--continue-unfinished``, or if nothing is done.

    Raises:
        ConfigError: if the last line is cut, which SimulEval cannot go on with.
    """
    output = getattr(args, "output", None)
    if not getattr(args, "continue_unfinished", False) or output is None:
        return 0
    log = Path(output) / "instances.log"
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["index"]) + 1 if lines else 0
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"--continue-unfinished cannot read the last line of {log} ({error}); expected that of "
            "a recording: if it is cut, delete it"
        ) from error


def content_of(output: Sequence[Output]) -> str | SpeechSegment:
    """What was said, as SimulEval takes it: one text, or one segment of speech."""
    spoken = [each for each in output if isinstance(each, Speech)]
    if spoken:
        samples = np.concatenate([each.samples for each in spoken]).tolist()
        return SpeechSegment(content=samples, sample_rate=spoken[0].sample_rate)
    separator = output[0].separator if output and not isinstance(output[0], Speech) else " "
    return separator.join(word for each in output for word in each.words)
