"""The kernel, compiled once for all tests of it."""

from __future__ import annotations

import pytest

from echostream.kernel import Kernel, compile_kernel
from tests import shared


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    folder = shared.made_once("kernel", lambda making: compile_kernel(making / "kernel.so"))
    return Kernel(folder / "kernel.so")
