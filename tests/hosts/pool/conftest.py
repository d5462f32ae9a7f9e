"""Translators that several tests share."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from echostream.session import Translator

from .hosts import alone, source


@pytest.fixture(scope="module")
def translator(translate: Callable[..., Translator]) -> Translator:
    return translate(policy="wait-k", policy_options="k=2,stride=1")


@pytest.fixture(scope="module")
def expected(translator: Translator) -> Any:
    """What :func:`alone` gives, computed once for each source."""

    @functools.cache
    def get(seconds: float, seed: int, rate: int) -> Any:
        return alone(translator, source(seconds, seed, rate))

    return get


@pytest.fixture(scope="module")
def idle_translator(translate: Callable[..., Translator]) -> Translator:
    """Never writes, so that only turns count."""
    return translate(policy="offline", task="asr")
