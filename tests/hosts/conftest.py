"""The sessions' small checkpoint, for every host."""

from tests.session.conftest import checkpoint, translate  # noqa: F401
