"""The project's own kernel for linear layers, and how it comes to be there.

In torch the encoder, the baseline and the CTC heads use it (:mod:`echostream.encoder.linear`), and
so do the graphs of backend ``inductor`` (:mod:`echostream.backend.panel_linear`).
"""

from echostream.kernel.build import (
    compile_kernel,
    has_compiler,
    kernel_version,
    multiplies_bytes,
)
from echostream.kernel.huge_pages import HugePages, in_huge_pages
from echostream.kernel.library import Kernel, shared_kernel
from echostream.kernel.panels import GROUP, PANEL, in_panels, in_panels_of_bytes
from echostream.kernel.rounding import to_bytes

__all__ = [
    "GROUP",
    "PANEL",
    "HugePages",
    "Kernel",
    "compile_kernel",
    "has_compiler",
    "in_huge_pages",
    "in_panels",
    "in_panels_of_bytes",
    "kernel_version",
    "multiplies_bytes",
    "shared_kernel",
    "to_bytes",
]
