"""What clients may ask for: the languages and tasks that one model has, a translator for each."""

from __future__ import annotations

import threading
from typing import Any

from echostream.hosts.languages import spoken_options
from echostream.hosts.pool import Detached, StreamPool
from echostream.hosts.server.options import MAX_AHEAD_MS
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.build import text_decoder

MOST_POOLS = 8
"""Beyond so many, those without streams are dropped."""


class Voices:
    """Pools of streams that share one model, by what their words are in.

    Args:
        translator: of the options.
        options: of the server; what clients do not ask for is as these say.
        max_batch: streams in one call of the encoder.

    Raises:
        ConfigError: for an encoder that takes one stream at a time.
    """

    def __init__(self, translator: Translator, options: SystemOptions, max_batch: int = 8) -> None:
        self._first = translator
        self._options = options
        self._max_batch = max_batch
        self._config = translator.listener.model.config
        self._pools: dict[SystemOptions, StreamPool] = {}
        self._lock = threading.Lock()
        self._pool(options)

    @property
    def separator(self) -> str:
        """Between words."""
        return self._first.writer.separator

    @property
    def chunk_ms(self) -> int:
        """Audio of a chunk, ms."""
        return self._first.listener.chunk_ms

    @property
    def pools(self) -> tuple[StreamPool, ...]:
        """Those there are."""
        return tuple(self._pools.values())

    def describe(self) -> dict[str, Any]:
        """What a client can choose; codes of languages, the default first."""
        model = self._first.listener.model
        own = self._config.source_languages or (self._config.source_language,)
        first = self._options.source_language
        sources = sorted(own, key=lambda code: code != first) if first else list(own)
        translates = self._options.task != "asr"
        return {
            "source_languages": sources,
            "target_languages": [self._config.target_language] if translates else [],
            "transcribes": "asr" in model.heads or text_decoder(model) is not None,
        }

    def open(
        self, source: str | None, target: str | None, detached: Detached | None = None
    ) -> tuple[StreamPool, int]:
        """A stream of a client's languages; the source as target stands for a transcript.

        One that was detached goes on.

        It takes a moment the first time that a language is asked for.

        Raises:
            ConfigError: for a language that the model does not have.
        """
        wanted = self.options_for(source, target)
        # A pool that is empty may be dropped, so it must not be between being found and used.
        with self._lock:
            pool = self._pool(wanted)
            return pool, pool.open(detached=detached)

    def _pool(self, wanted: SystemOptions) -> StreamPool:
        pool = self._pools.get(wanted)
        if pool is None:
            for options in [key for key, each in self._pools.items() if not len(each)]:
                if len(self._pools) >= MOST_POOLS:
                    del self._pools[options]
            like = self._first
            translator = like if wanted == self._options else build_translator(wanted, like=like)
            pool = StreamPool(
                translator, self._max_batch, max_streams=1 << 16, max_ahead_ms=MAX_AHEAD_MS
            )
            self._pools[wanted] = pool
        return pool

    def options_for(self, source: str | None, target: str | None) -> SystemOptions:
        """What a client's languages mean.

        Raises:
            ConfigError: for a language that the model does not have.
        """
        return spoken_options(self._options, self._config, source, target)
