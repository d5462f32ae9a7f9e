"""What task, model and criterion hand to each other.

Symbols: ``B`` examples, ``t`` encoder frames, ``C`` channels, ``V`` units and the blank.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

from torch import Tensor

from echostream.training.preparation import Preparation

Sample = dict[str, Any]
"""A batch, as `dataset.SpeechDataset.collater` makes it."""


class PreparedTask(Protocol):
    """What model and criterion need to know of the task."""

    prepared: Preparation


class ModelOutput(TypedDict):
    """What the network gives for a batch. Later tasks (text decoder, units) add their own keys."""

    encoder_out: Tensor
    """``[B, t, C]``, zero after the end of each recording."""
    lengths: Tensor
    """``[B]`` encoder frames."""
    asr: Tensor
    """Log-probabilities ``[B, t, V]`` of transcript units."""
    st: Tensor
    """Log-probabilities ``[B, t, V]`` of translation units."""
