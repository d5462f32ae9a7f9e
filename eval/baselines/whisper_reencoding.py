"""The agent of :mod:`eval.baselines.reencoding`.

PYTHONPATH=. simuleval --agent eval/baselines/whisper_reencoding.py --way local-agreement
    --source-language es --source-segment-size 640 --computation-aware ...
"""

from __future__ import annotations

import argparse
from functools import cache
from typing import Any

import numpy as np
from simuleval.agents import SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.agents.states import AgentStates
from simuleval.utils import entrypoint

from echostream.audio.resample import Resampler, ResamplerState
from echostream.decoder.text import TransformerGenerator
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import ConfigError, EchoStreamError
from echostream.session import SystemOptions, Translator, build_translator
from eval.baselines.reencoding import FRAMES, WAYS, Buffer, Reencoder


class ReencodingStates(AgentStates):  # type: ignore[misc]
    """SimulEval's, with the audio that is kept."""

    buffer: Buffer | None
    heard: int
    resampler: ResamplerState

    def reset(self) -> None:
        """A new recording."""
        super().reset()
        self.buffer, self.heard, self.resampler = None, 0, ResamplerState()


@cache
def _translator(options: SystemOptions) -> Translator:
    """One for agents that differ in their way only."""
    return build_translator(options)


@entrypoint
class WhisperReencoding(SpeechToTextAgent):  # type: ignore[misc]
    """Speech to text, task ``s2tt`` or ``asr``; ConfigError for a checkpoint of another kind."""

    def __init__(self, args: Any) -> None:
        options = SystemOptions(
            args.checkpoint, task=args.task, source_language=args.source_language
        )
        self.translator = _translator(options)
        encoder = self.translator.listener.model.encoder
        generator = self.translator.writer.generator
        if not isinstance(encoder, WhisperEncoder) or not isinstance(
            generator, TransformerGenerator
        ):
            raise ConfigError(f"{args.checkpoint} is not Whisper; expected whisper-base")
        decoder, vocabulary = generator.search.decoder, generator.vocabulary
        self.reencoder = Reencoder(encoder, decoder, vocabulary, args.way, args.frames)
        super().__init__(args)

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """Add the agent's options."""
        add = parser.add_argument
        add("--checkpoint", default="whisper-base", help="(default: %(default)s)")
        add("--source-language", help="such as es")
        add("--task", default="s2tt", choices=("s2tt", "asr"), help="(default: %(default)s)")
        add("--way", default=WAYS[0], choices=WAYS, help="(default: %(default)s)")
        add("--frames", type=int, default=FRAMES, help="of alignatt (default: %(default)s)")

    @classmethod
    def from_args(cls, args: Any) -> WhisperReencoding:
        """The agent for SimulEval's command line: what is wrong is said in one line."""
        try:
            return cls(args)
        except EchoStreamError as error:
            raise SystemExit(f"echostream: error: {error}") from error

    def build_states(self) -> ReencodingStates:
        """States of one more stream."""
        return ReencodingStates()

    def policy(self, states: ReencodingStates | None = None) -> Action:
        """Hear what is unread; read on, or write the words that are due."""
        states = self.states if states is None else states
        samples = np.asarray(states.source[states.heard :], np.float32)
        states.heard, is_final = len(states.source), bool(states.source_finished)
        if len(samples) == 0 and not is_final:
            return ReadAction()
        if states.heard:
            resampler = Resampler(states.source_sample_rate)
            samples, states.resampler = resampler.step(samples, states.resampler)
            if is_final:
                samples = np.concatenate((samples, resampler.flush(states.resampler)))
        buffer = states.buffer or self.reencoder.init_state()
        words, states.buffer = self.reencoder.step(samples, buffer, is_final=is_final)
        if words or is_final:
            return WriteAction(" ".join(words), finished=is_final)
        return ReadAction()
