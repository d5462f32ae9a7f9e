"""What tests of the kernel and of the Inductor need of the machine."""

import pytest

from echostream.kernel import compiler_missing, has_int8_layers, has_int8_products

needs_compiler = pytest.mark.skipif(compiler_missing() is not None, reason=f"{compiler_missing()}")
needs_int8 = pytest.mark.skipif(
    compiler_missing() is not None or not has_int8_products(), reason="no int8 products here"
)
needs_int8_layers = pytest.mark.skipif(
    compiler_missing() is not None or not has_int8_layers(), reason="no int8 layers here"
)
