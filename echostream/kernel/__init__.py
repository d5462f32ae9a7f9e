"""The project's own kernel for what layers compute of a chunk, and how it comes to be there.

In torch the encoder uses it, and for linear layers the baseline and the CTC heads do too; graphs of
backend ``inductor`` have its functions as operators (:mod:`echostream.backend.kernel_operators`).
"""

from echostream.kernel.build import (
    compile_kernel,
    has_compiler,
    has_int8_products,
    kernel_version,
)
from echostream.kernel.choice import (
    ChunkKernel,
    GraphKernel,
    graph_kernel,
    is_plain_inference,
    kernel_for,
    tracing_with,
)
from echostream.kernel.huge_pages import HugePages, in_huge_pages
from echostream.kernel.library import Kernel, shared_kernel, stem_sizes
from echostream.kernel.mel_bank import MelBank
from echostream.kernel.packed_weights import (
    TILE,
    pack_weights,
    pack_weights_int8,
    packed_size,
    packed_size_int8,
    unpack_weights,
    unpack_weights_int8,
)
from echostream.kernel.quantisation import quantise_int8

__all__ = [
    "TILE",
    "ChunkKernel",
    "GraphKernel",
    "HugePages",
    "Kernel",
    "MelBank",
    "compile_kernel",
    "graph_kernel",
    "has_compiler",
    "in_huge_pages",
    "pack_weights",
    "pack_weights_int8",
    "kernel_for",
    "kernel_version",
    "has_int8_products",
    "unpack_weights",
    "unpack_weights_int8",
    "shared_kernel",
    "packed_size",
    "packed_size_int8",
    "stem_sizes",
    "quantise_int8",
    "tracing_with",
    "is_plain_inference",
]
