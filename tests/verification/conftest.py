"""The small checkpoint of the agent's tests, verified quickly."""

from collections.abc import Callable
from typing import Any

import pytest

from echostream.session import Translator
from echostream.verification.certificate import Certificate
from echostream.verification.settings import Settings
from echostream.verification.subjects import Backends
from echostream.verification.verify import verify

NONE_COMPILED = Backends((), (), lambda *_, **__: None)


@pytest.fixture
def verified(translate: Callable[..., Translator]):  # type: ignore[no-untyped-def]
    """Verifies a translator in torch, by default a new one and in float64 only."""

    def run(
        translator: Translator | None = None, backends: Backends = NONE_COMPILED, **changes: Any
    ) -> Certificate:
        settings = {"backend": "torch", "precision": "float64", "seconds": 2.5, "trials": 1}
        return verify(
            translate() if translator is None else translator,
            Settings(**{**settings, **changes}),
            name="small",
            backends=backends,
        )

    return run
