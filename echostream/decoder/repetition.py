"""A guard against words without end, which a badly trained model says on noise.

A CTC search emits at most one token for a frame, so it cannot run away inside one step as an
autoregressive decoder can; but it may repeat a phrase as long as the noise lasts. When the last
words are ``max_repeats`` copies of one phrase of up to ``MAX_PERIOD`` words, further words that
continue the pattern are dropped and counted. The first word that breaks the pattern is said again.
It works on whole words, so that what is left is text.
"""

from dataclasses import dataclass

from echostream.errors import ConfigError

MAX_PERIOD = 10
"""Longest repeated phrase that is recognised, in words."""

DEFAULT_MAX_REPEATS = 16
"""Copies that are let through: far more than speakers say, some seconds of speech."""


@dataclass(frozen=True)
class RepetitionState:
    """The last ``MAX_PERIOD`` words and how long each period has held."""

    recent: tuple[str, ...] = ()
    """Last words, oldest first, dropped ones included."""
    runs: tuple[int, ...] = (0,) * MAX_PERIOD
    """For each period ``p`` from 1: latest words in a row that equal the word ``p`` before."""
    dropped: int = 0
    """Words refused so far."""


@dataclass(frozen=True)
class RepetitionGuard:
    """Refuses words that continue a phrase already said ``max_repeats`` times in a row.

    Raises:
        ConfigError: if ``max_repeats`` is below 2.
    """

    max_repeats: int = DEFAULT_MAX_REPEATS

    def __post_init__(self) -> None:
        if self.max_repeats < 2:
            raise ConfigError(
                f"max_repeats is {self.max_repeats}; expected at least 2 copies of a phrase"
            )

    def admit(self, word: str, state: RepetitionState) -> tuple[bool, RepetitionState]:
        """Whether ``word`` may be said, and the state after it."""
        runs = tuple(
            run + 1 if len(state.recent) >= period and state.recent[-period] == word else 0
            for period, run in enumerate(state.runs, start=1)
        )
        # A run of (R - 1) * p words that equal the one p before is R copies of a phrase of p.
        refused = any(
            run > (self.max_repeats - 1) * period for period, run in enumerate(runs, start=1)
        )
        recent = (*state.recent, word)[-MAX_PERIOD:]
        return not refused, RepetitionState(recent, runs, state.dropped + refused)
