"""The kernel, compiled once for all tests of it."""

from __future__ import annotations

import pytest

from echostream.kernel import Kernel, compile_kernel


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    path = tmp_path_factory.mktemp("kernel") / "kernel.so"
    compile_kernel(path)
    return Kernel(path)
