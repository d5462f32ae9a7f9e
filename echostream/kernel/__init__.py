"""The project's own kernel for what layers compute of a chunk, and how it comes to be there.

In torch the encoder uses it, and for linear layers the baseline and the CTC heads do too; graphs of
backend ``inductor`` have its functions as operators (:mod:`echostream.backend.kernel_operators`).
"""

from echostream.kernel.build import (
    compile_kernel,
    has_compiler,
    kernel_version,
    multiplies_bytes,
)
from echostream.kernel.choice import (
    ChunkKernel,
    GraphKernel,
    graph_kernel,
    kernel_for,
    tracing_with,
    wants_numbers,
)
from echostream.kernel.huge_pages import HugePages, in_huge_pages
from echostream.kernel.library import Kernel, shared_kernel, stem_sizes
from echostream.kernel.mel_bank import MelBank
from echostream.kernel.panels import (
    PANEL,
    in_panels,
    in_panels_of_bytes,
    out_of_panels,
    out_of_panels_of_bytes,
    size_in_panels,
    size_in_panels_of_bytes,
)
from echostream.kernel.rounding import to_bytes

__all__ = [
    "PANEL",
    "ChunkKernel",
    "GraphKernel",
    "HugePages",
    "Kernel",
    "MelBank",
    "compile_kernel",
    "graph_kernel",
    "has_compiler",
    "in_huge_pages",
    "in_panels",
    "in_panels_of_bytes",
    "kernel_for",
    "kernel_version",
    "multiplies_bytes",
    "out_of_panels",
    "out_of_panels_of_bytes",
    "shared_kernel",
    "size_in_panels",
    "size_in_panels_of_bytes",
    "stem_sizes",
    "to_bytes",
    "tracing_with",
    "wants_numbers",
]
