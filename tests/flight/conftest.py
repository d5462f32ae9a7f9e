"""The agent's small checkpoint."""

from tests.agent.conftest import checkpoint  # noqa: F401
