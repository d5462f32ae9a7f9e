"""A convolution over the rows of a chunk.

Symbols: ``B`` streams, ``T`` rows given, ``n`` rows that come out, ``I`` channels before, ``O``
after, ``k`` taps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.linear import activated
from echostream.encoder.prepared import PreparedModule
from echostream.kernel import GELU, graph_kernel, kernel_for, pack_weights


class RowConvolution(PreparedModule, nn.Conv1d):
    """:class:`torch.nn.Conv1d` of rows ``[B, T, I]`` without padding, and GELU of it.

    In plain inference it is a linear layer of ``k`` rows side by side, in the project's kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, I] -> [B, n, O]``."""
        kernel = kernel_for(x) if graph_kernel() is None else None
        if kernel is None or not self.weight.is_cpu or self.weight.dtype != torch.float32:
            y = functional.conv1d(x.transpose(1, 2), self.weight, self.bias, self.stride)
            return activated(y, GELU).transpose(1, 2)
        sources = (self.weight,) if self.bias is None else (self.weight, self.bias)
        packed = self.prepared("kernel", sources, self._packed)
        rows = x.unfold(1, self.kernel_size[0], self.stride[0]).transpose(2, 3).flatten(2)
        return kernel.packed_linear(rows, packed, 0, self.out_channels, GELU)

    def _packed(self) -> Tensor:
        return pack_weights(self.weight.transpose(1, 2).flatten(1), self.bias)
