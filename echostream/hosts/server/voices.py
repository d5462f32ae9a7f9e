"""What clients may ask for: the languages and tasks that one model has, a translator for each."""

from dataclasses import dataclass
from typing import Any

from echostream.config import SystemConfig
from echostream.hosts.languages import spoken_options
from echostream.hosts.pool import Detached, StreamPool
from echostream.hosts.server.options import MAX_AHEAD_MS
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.build import text_decoder
from echostream.session.saved_stream import fingerprint

MOST_POOLS = 8
"""Beyond so many, those without streams are dropped."""


@dataclass(frozen=True)
class Facts:
    """What the streams of a system are, for those who do not compute them."""

    options: SystemOptions
    """What clients do not ask for is as these say."""
    config: SystemConfig
    choices: dict[str, Any]
    """What a client can choose; codes of languages, the default first."""
    chunk_ms: int
    """Audio of a chunk, ms."""
    separator: str
    """Between words."""
    fingerprint: str


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
        self._pool(options)

    @property
    def pools(self) -> tuple[StreamPool, ...]:
        """Those there are."""
        return tuple(self._pools.values())

    @property
    def facts(self) -> Facts:
        """What streams there can be."""
        model, config = self._first.listener.model, self._config
        own = config.source_languages or (config.source_language,)
        first = self._options.source_language
        sources = sorted(own, key=lambda code: code != first) if first else list(own)
        translates = self._options.task != "asr"
        choices = {
            "source_languages": sources,
            "target_languages": [config.target_language] if translates else [],
            "transcribes": "asr" in model.heads or text_decoder(model) is not None,
        }
        return Facts(
            self._options,
            config,
            choices,
            self._first.listener.chunk_ms,
            self._first.writer.separator,
            fingerprint(self._first),
        )

    def open(
        self, source: str | None, target: str | None, detached: Detached | None = None
    ) -> tuple[StreamPool, int]:
        """A stream of a client's languages; the source as target stands for a transcript.

        One that was detached goes on.

        It takes a moment the first time that a language is asked for.

        Raises:
            ConfigError: for a language that the model does not have.
        """
        pool = self._pool(spoken_options(self._options, self._config, source, target))
        return pool, pool.open(detached=detached)

    def _pool(self, wanted: SystemOptions) -> StreamPool:
        pool = self._pools.get(wanted)
        if pool is None:
            for options in [key for key, each in self._pools.items() if not len(each)]:
                if len(self._pools) >= MOST_POOLS:
                    del self._pools[options]
            like = self._first
            translator = like if wanted == self._options else build_translator(wanted, like=like)
            # Who pushes waits; a resampler may then give what it had kept back, on top.
            ahead_ms = MAX_AHEAD_MS + 1000
            pool = StreamPool(
                translator, self._max_batch, max_streams=1 << 16, max_ahead_ms=ahead_ms
            )
            self._pools[wanted] = pool
        return pool
