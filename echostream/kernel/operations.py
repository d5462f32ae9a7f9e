"""The kernel's operations: what each takes and gives.

Symbols: ``B`` streams, ``S`` frames of the chunk, ``P`` frames of left context, ``W = P + S``,
``H`` heads, ``D`` channels of a query, ``E`` of a query for positions, ``R = W + S - 1`` relative
positions, ``V`` channels of a value, ``C`` channels, ``h`` frames and ``K`` taps of a convolution;
of a linear layer ``I`` inputs and ``O`` outputs.

Tensors are float32 on the CPU, in any layout. What a stream gets is the same bits alone and in a
batch. Each operation is written in C++ under the same name, where ``OPERATION`` says the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SWOOSH_L, GELU = 1, 2
"""What a linear layer's result may go through."""


class Operations:
    """Each operation as the shape of its result, which is what torch needs in order to trace it.

    :class:`echostream.kernel.Kernel` computes them.
    """

    @staticmethod
    def packed_linear(
        x: Tensor, weights: Tensor, offset: int, outputs: int, activation: int
    ) -> Tensor:
        """A linear layer.

        Args:
            x: ``[..., I]``.
            weights: flat, with the layer from ``offset`` on as
                :func:`echostream.kernel.pack_weights` packs it.
            offset: where it begins.
            outputs: ``O``.
            activation: applied to the result: :data:`SWOOSH_L`, :data:`GELU`, or 0 for none.

        Returns:
            ``[..., O]``.
        """
        return x.new_empty((*x.shape[:-1], outputs))

    @staticmethod
    def packed_linear_add(x: Tensor, weights: Tensor, offset: int, addend: Tensor) -> Tensor:
        """``addend`` [..., O] and :meth:`packed_linear` of as many outputs."""
        return addend.new_empty(addend.shape)

    @staticmethod
    def packed_linear_int8(
        x: Tensor, weights: Tensor, offset: int, outputs: int, activation: int
    ) -> Tensor:
        """:meth:`packed_linear` of :func:`echostream.kernel.pack_weights_int8`.

        Inputs are rounded too, each row with one scale: to int8 where
        :func:`echostream.kernel.has_int8_products` is true, else to int16.

        Raises:
            RuntimeError: where :func:`echostream.kernel.has_int8_layers` is false.
        """
        return x.new_empty((*x.shape[:-1], outputs))

    @staticmethod
    def packed_linear_int8_add(x: Tensor, weights: Tensor, offset: int, addend: Tensor) -> Tensor:
        """``addend`` [..., O] and :meth:`packed_linear_int8` of as many outputs."""
        return addend.new_empty(addend.shape)

    @staticmethod
    def attention_weights(
        projected: Tensor, past: Sequence[Tensor], positions: Tensor, mask: Tensor, heads: int
    ) -> Tensor:
        """Softmax of products of queries and keys, with relative positions.

        Args:
            projected: ``[B, S, 2 H D + H E]`` queries, keys, queries for positions.
            past: ``[B, P, H D]`` keys, in blocks of as many frames each, the oldest first.
            positions: ``[H, E, R]``.
            mask: ``[B, 1, S, W]``, added to the scores.
            heads: ``H``.

        Returns:
            ``[B, H, S, W]``.
        """
        batch, frames, _ = projected.shape
        width = len(past) * past[0].shape[1] + frames
        return projected.new_empty(batch, heads, frames, width)

    @staticmethod
    def attention_mix(
        weights: Tensor, past: Sequence[Tensor], values: Tensor, heads: int
    ) -> Tensor:
        """Means of values, weighted.

        Args:
            weights: ``[B, at least H, S, W]``, of which the first ``H`` heads are used.
            past: ``[B, P, H V]`` values, in blocks likewise.
            values: ``[B, S, H V]``.
            heads: ``H``.

        Returns:
            ``[B, S, H V]``.
        """
        return values.new_empty(values.shape)

    @staticmethod
    def cached_weights(
        queries: Tensor, parts: Sequence[Tensor], mask: Tensor, heads: int
    ) -> Tensor:
        """Softmax of products of the queries of ``n`` tokens with keys that lie in parts.

        Args:
            queries: ``[n, H D]``.
            parts: ``[2, H, any, D]`` keys and values of ``W`` rows in all.
            mask: ``[n, W]``, or ``[1, W]`` for all tokens, added to the scores; ``[0, 0]`` for
                none.
            heads: ``H``.

        Returns:
            ``[H, n, W]``.
        """
        width = sum(part.shape[2] for part in parts)
        return queries.new_empty(heads, queries.shape[0], width)

    @staticmethod
    def cached_mix(weights: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """Means of the values of the parts, ``[n, H D]``, weighted by ``[H, n, W]``."""
        heads, count, _ = weights.shape
        return weights.new_empty(count, heads * parts[0].shape[3])

    @staticmethod
    def depthwise_swoosh(past: Tensor, x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
        """SwooshR of a depthwise convolution; frames after the chunk count as zero.

        Args:
            past: ``[B, h, C]``.
            x: ``[B, S, C]``.
            taps: ``[K, C]``, the first for the oldest frame of the past.
            bias: ``[C]``.

        Returns:
            ``[B, S, C]``.
        """
        return x.new_empty(x.shape)

    @staticmethod
    def stem(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """Three 3x3 convolutions over time and mel bins, and SwooshR of each.

        None is padded in time, all are by one bin at each end; the second takes every other frame
        and bin, the third every other bin.

        Args:
            features: ``[B, T, F]``, ``T`` an odd number from 9 on.
            layers: the convolutions, each packed by :func:`echostream.kernel.pack_weights` as a
                linear layer whose inputs are 3 frames of 3 bins of the channels before it.
            outputs: of each the channels after it, ``C`` after the last.

        Returns:
            ``[B, (T - 7) / 2, C F / 4]``, of each channel all bins one after the other.
        """
        batch, frames, bins = features.shape
        return features.new_empty(batch, (frames - 7) // 2, outputs[-1] * ((bins + 3) // 4))

    @staticmethod
    def stem_int8(features: Tensor, layers: Sequence[Tensor], outputs: Sequence[int]) -> Tensor:
        """:meth:`stem` with the second and third layer in int8, whose inputs are multiples of four.

        Their inputs are rounded to int8 too, each frame with one scale.

        Raises:
            RuntimeError: where :func:`echostream.kernel.has_int8_products` is false.
        """
        return Operations.stem(features, layers, outputs)

    @staticmethod
    def gated_sigmoid(projected: Tensor, valid: Tensor) -> Tensor:
        """Values times the sigmoid of their gates, zero for frames that are not valid.

        Args:
            projected: ``[B, S, 2 C]`` values, gates.
            valid: ``[B, S, 1]`` 1.0 for frames of the recording, 0.0 for others.

        Returns:
            ``[B, S, C]``.
        """
        batch, frames, channels = projected.shape
        return projected.new_empty(batch, frames, channels // 2)

    @staticmethod
    def gated_tanh(projected: Tensor) -> Tensor:
        """Values times tanh of their gates.

        Args:
            projected: ``[B, S, 3 C]`` gates, values, and what is not used here.

        Returns:
            ``[B, S, C]``.
        """
        batch, frames, channels = projected.shape
        return projected.new_empty(batch, frames, channels // 3)

    @staticmethod
    def swoosh_r(x: Tensor) -> Tensor:
        """SwooshR of each value, in the order of memory that ``x`` is in."""
        return torch.empty_like(x)

    @staticmethod
    def log_mel(
        signal: Tensor, frames: int, window: Tensor, firsts: Tensor, counts: Tensor, weights: Tensor
    ) -> Tensor:
        """Logarithms of mel energies; see :mod:`echostream.audio.fbank`.

        Args:
            signal: ``[400 + 160 (frames - 1) or more]``, full scale at 1.
            frames: from 1 on.
            window: and the others, see :class:`echostream.kernel.MelBank`.

        Returns:
            ``[frames, 80]``.
        """
        return signal.new_empty(frames, firsts.shape[0])


NAMES = tuple(name for name in vars(Operations) if not name.startswith("_"))
