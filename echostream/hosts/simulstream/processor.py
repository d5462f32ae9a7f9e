"""A speech processor for simulstream 1.0: one model for all of its clients.

In its YAML, beside what the agent's options are called there (``checkpoint``, ``policy``, ...)::

    type: echostream.hosts.simulstream.processor.EchoStreamProcessor
    speech_chunk_size: 0.32     # s, the encoder's chunk if it is left out
"""

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from simulstream.server.speech_processors import SAMPLE_RATE, SpeechProcessor
from simulstream.server.speech_processors.incremental_output import IncrementalOutput

from echostream.hosts.languages import spoken_options
from echostream.hosts.options import options_of
from echostream.session import Session, SystemOptions, Translator, build_translator


class EchoStreamProcessor(SpeechProcessor):  # type: ignore[misc]  # untyped base class
    """A session of the translator that all processors of the same options share."""

    _shared: ClassVar[dict[SystemOptions, Translator]] = {}

    @classmethod
    def load_model(cls, config: SimpleNamespace) -> None:
        """Load it once in a process."""
        options, _ = options_of(config)
        if options not in cls._shared:
            cls._shared[options] = build_translator(options, getattr(config, "device", "cpu"))

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__(config)
        self._options, _ = options_of(config)
        self._first = self._shared[self._options]
        self._source: str | None = None
        self._target: str | None = None
        self._begin(self._first)

    @property
    def speech_chunk_size(self) -> float:
        """In seconds; by default what both a chunk and its right context are multiples of."""
        listener = self._first.listener
        usual = math.gcd(listener.chunk_ms, listener.right_context_ms)
        return float(getattr(self.config, "speech_chunk_size", None) or usual / 1000)

    def process_chunk(self, waveform: NDArray[np.float32]) -> IncrementalOutput:
        """Words of more audio ``[n]`` at 16 kHz; what was written is never deleted."""
        return self._output(self._session.push(waveform, SAMPLE_RATE).words)

    def end_of_stream(self) -> IncrementalOutput:
        """The words that are left; what comes then is another stream."""
        output = self._output(self._session.finish().words)
        self._begin(self._session.translator)
        return output

    def set_source_language(self, language: str) -> None:
        """Of this stream, before its first audio."""
        self._source = language
        self._choose()

    def set_target_language(self, language: str) -> None:
        """Likewise; the source's stands for a transcript."""
        self._target = language
        self._choose()

    def tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens are whole words."""
        return self._session.translator.writer.separator.join(tokens)

    def clear(self) -> None:
        """Forget the stream and its languages."""
        self._source = self._target = None
        self._begin(self._first)

    def _choose(self) -> None:
        config = self._first.listener.model.config
        wanted = spoken_options(self._options, config, self._source, self._target)
        if wanted not in self._shared:
            self._shared[wanted] = build_translator(wanted, like=self._first)
        self._begin(self._shared[wanted])

    def _begin(self, translator: Translator) -> None:
        self._session = Session(translator)
        self._begun = False

    def _output(self, words: tuple[str, ...]) -> Any:
        separator = self._session.translator.writer.separator if self._begun and words else ""
        self._begun = self._begun or bool(words)
        return IncrementalOutput(list(words), separator + self.tokens_to_string([*words]), [], "")
