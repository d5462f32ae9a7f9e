"""Weights in int8."""

from __future__ import annotations

from typing import Any

import numpy as np


def quantise_int8(weights: Any, inputs_axis: int) -> tuple[Any, Any]:
    """int8 values from -127 to 127 and float32 scales, whose product is nearest to ``weights``.

    Each output has one scale: ``scales`` has size 1 along ``inputs_axis``.
    """
    largest = np.abs(weights).max(axis=inputs_axis, keepdims=True)
    scales = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(weights / scales).clip(-127, 127).astype(np.int8), scales
