"""The project's own kernel for what layers compute of a chunk, and how it comes to be there.

In torch the encoder uses it, and for linear layers the baseline and the CTC heads do too; graphs of
backend ``inductor`` call the same operations (:mod:`echostream.backend.inductor`).
"""

from echostream.kernel.build import (
    compile_kernel,
    compiler_command,
    compiler_missing,
    compiler_version,
    has_int8_layers,
    has_int8_products,
    kernel_version,
)
from echostream.kernel.library import (
    GraphKernel,
    Kernel,
    graph_kernel,
    is_plain_inference,
    kernel_for,
    load_kernel,
    shared_kernel,
    tracing_with,
)
from echostream.kernel.mel_bank import MelBank
from echostream.kernel.operations import GELU, NAMES, SWOOSH_L, Operations
from echostream.kernel.packed_weights import (
    TILE,
    HugePages,
    in_huge_pages,
    pack_weights,
    pack_weights_int8,
    quantise_int8,
    unpack_weights,
)

__all__ = [
    "GELU",
    "NAMES",
    "SWOOSH_L",
    "TILE",
    "GraphKernel",
    "HugePages",
    "Kernel",
    "MelBank",
    "Operations",
    "compile_kernel",
    "compiler_command",
    "compiler_missing",
    "compiler_version",
    "graph_kernel",
    "has_int8_layers",
    "has_int8_products",
    "in_huge_pages",
    "is_plain_inference",
    "kernel_for",
    "kernel_version",
    "load_kernel",
    "pack_weights",
    "pack_weights_int8",
    "quantise_int8",
    "shared_kernel",
    "tracing_with",
    "unpack_weights",
]
