"""The kernel, the same for all tests of it."""

import pytest

from echostream.kernel import Kernel, shared_kernel


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    found = shared_kernel()
    assert found is not None
    return found
