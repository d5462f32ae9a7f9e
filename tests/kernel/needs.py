"""What tests of the kernel and of the Inductor need of the machine."""

from __future__ import annotations

import pytest

from echostream.kernel import has_compiler, has_int8_products

needs_compiler = pytest.mark.skipif(
    not has_compiler(), reason="no C++ compiler: apt-get install g++"
)
needs_int8 = pytest.mark.skipif(
    not (has_compiler() and has_int8_products()), reason="no products of bytes here"
)
