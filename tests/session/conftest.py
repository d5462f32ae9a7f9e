"""Names that stood here: now in tests/conftest.py and tests/small_system.py."""

from tests.conftest import checkpoint, translate  # noqa: F401
from tests.small_system import ENCODER, audio  # noqa: F401
