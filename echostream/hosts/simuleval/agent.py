"""The SimulEval agent.

Works on the released SimulEval 1.1.4 and on its main branch, stateful (``policy()``) and stateless
(``policy(states)``), and for other hosts that build agents from a bare namespace. What SimulEval
asks of an agent is written down in ``docs/agent.md``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

import torch
from simuleval.agents import SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.data.segments import Segment

from echostream.errors import AudioFormatError, ConfigError, EchoStreamError
from echostream.flight.recorder import FlightRecorder
from echostream.hosts.simuleval.states import EchoStreamStates, RefusedSegment
from echostream.session.build import build_translator, read_forced_target
from echostream.session.options import AgentOptions, add_arguments
from echostream.session.saved_run import SavedRun
from echostream.session.segment_log import SegmentLog, SegmentRecord
from echostream.session.translator import Step, TranslatorState
from echostream.session.writer import Turn

logger = logging.getLogger(__name__)


class EchoStreamAgent(SpeechToTextAgent):  # type: ignore[misc]
    """Speech to text, task ``s2tt`` or ``asr``."""

    # Some hosts read it from the class before any segment has set it.
    tgt_lang: str | None = None

    def __init__(self, args: Any = None) -> None:
        self.options = self.read_options(args)
        torch.set_num_threads(self.options.threads)
        self.translator = build_translator(self.options)
        forced = self.options.forced_target
        self._references = None if forced is None else read_forced_target(forced)
        log = self.options.segment_log
        self._segment_log = None if log is None else SegmentLog(log)
        recorded = self.options.record is not None
        self._recorder = FlightRecorder(self.options, self.translator) if recorded else None
        folder = self.options.save_state
        self._saved_run = None if folder is None else SavedRun(folder, self.translator)
        super().__init__(args)

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """Add the agent's options; none of SimulEval's own is redefined."""
        add_arguments(parser)

    @classmethod
    def read_options(cls, args: Any) -> AgentOptions:
        """The options in whatever a host passes."""
        return AgentOptions.from_namespace(args)

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
        return EchoStreamStates(self._begin, config.audio.nan_policy)  # type: ignore[arg-type]

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
        self.translator.listener.model.to(wanted)
        self.states = self.build_states()

    def push(
        self,
        source_segment: Segment,
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
            super().push(source_segment, states, upstream_states)
        except AudioFormatError as error:
            if self._recorder is not None and states.translator_state is not None:
                refused = RefusedSegment(
                    source_segment.content,
                    source_segment.sample_rate,
                    source_segment.finished,
                    error,
                )
                with states.turn:
                    states.refused.append(refused)
                    if not states.unread:
                        self._record_refused(states, states.translator_state)
            raise

    def policy(self, states: EchoStreamStates | None = None) -> Action:
        """Hear what is unread; read on, or write the words that are due."""
        states = self.states if states is None else states
        with states.turn:
            return self._take_turn(states)

    def _take_turn(self, states: EchoStreamStates) -> Action:
        samples, finished = states.take_unread()
        if len(samples) == 0 and not finished:
            return ReadAction()
        if states.translator_state is None:
            raise ConfigError(
                f"--forced-target has {len(self._references or ())} lines but this is recording "
                f"{self.options.forced_start + states.stream_number + 1}; expected one line for "
                "each recording"
            )
        step, states.translator_state = self._step(
            samples, states, states.translator_state, finished
        )
        if self.options.verbose:
            for turn in step.turns:
                print(turn_line(turn), file=sys.stderr)
        if self._segment_log is not None:
            audio_ms = states.translator_state.listener.audio_ms
            states.segments.append(SegmentRecord(audio_ms, step.costs, len(step.words)))
            if finished:
                index = self.options.forced_start + states.stream_number
                self._segment_log.write(index, states.segments)
        if finished:
            return WriteAction(" ".join(step.words), finished=True)
        return WriteAction(" ".join(step.words), finished=False) if step.words else ReadAction()

    def _step(
        self, samples: Any, states: EchoStreamStates, state: TranslatorState, finished: bool
    ) -> tuple[Step, TranslatorState]:
        """The translator's step, in the flight record if there is one."""
        rate = states.source_sample_rate
        if self._recorder is None:
            # States of another host's streams are that host's to keep.
            run = self._saved_run if states is self.states else None
            return (run or self.translator).step(samples, rate, state, is_final=finished)
        try:
            outcome = self.translator.step(samples, rate, state, is_final=finished)
        except Exception as error:
            self._record(states, state, samples, rate, is_final=finished, outcome=error)
            raise
        self._record(states, state, samples, rate, is_final=finished, outcome=outcome)
        self._record_refused(states, outcome[1])
        return outcome

    def _record(
        self,
        states: EchoStreamStates,
        state: TranslatorState,
        samples: Any,
        sample_rate: int | None,
        *,
        is_final: bool,
        outcome: tuple[Step, TranslatorState] | Exception,
    ) -> None:
        assert self._recorder is not None
        if states.flight_stream is None:
            recording = self.options.forced_start + states.stream_number
            states.flight_stream = self._recorder.begin(recording, state)
        position = states.flight_stream, states.num_segments
        states.num_segments += 1
        self._recorder.segment(position, samples, sample_rate, is_final=is_final, outcome=outcome)

    def _record_refused(self, states: EchoStreamStates, state: TranslatorState) -> None:
        refused, states.refused = states.refused, []
        for each in refused:
            self._record(
                states,
                state,
                each.samples,
                each.sample_rate,
                is_final=each.is_final,
                outcome=each.error,
            )

    def _begin(self, stream_number: int) -> TranslatorState | None:
        if self._references is None:
            return self.translator.init_state()
        line = self.options.forced_start + stream_number
        if line < len(self._references):
            return self.translator.init_state(self._references[line])
        # No error yet: the evaluator resets once more after the last recording.
        return None


def turn_line(turn: Turn) -> str:
    """One line: when, READ or WRITE, what, why."""
    what = f"WRITE {' '.join(turn.words)!r}" if turn.words else "READ"
    return f"{turn.audio_ms / 1000:8.2f} s  chunk {turn.num_chunks:4d}  {what}  ({turn.reason})"
