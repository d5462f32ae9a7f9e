"""What tests of the kernel and of the Inductor need of the machine."""

from __future__ import annotations

import pytest

from echostream.kernel import has_compiler, multiplies_bytes

needs_compiler = pytest.mark.skipif(
    not has_compiler(), reason="no C++ compiler: apt-get install g++"
)
needs_bytes = pytest.mark.skipif(
    not (has_compiler() and multiplies_bytes()), reason="no products of bytes here"
)
