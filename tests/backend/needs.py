"""What tests of the Inductor need of the machine."""

from __future__ import annotations

import pytest

from echostream.backend import installed_backends, panel_linear

AVAILABLE = "inductor" in installed_backends(at_once=False)
needs_compiler = pytest.mark.skipif(not AVAILABLE, reason="no C++ compiler: apt-get install g++")
needs_bytes = pytest.mark.skipif(
    not (AVAILABLE and panel_linear.multiplies_bytes()), reason="no products of bytes here"
)
