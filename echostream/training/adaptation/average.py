"""The mean of two adapted checkpoints: what either has learned, and less of what it forgot.

Weights that were tuned from the same ones lie in one valley, and between them is often a better
place than either (Wortsman et al. 2022, arXiv 2109.01903, of a network before and after).

Symbols: ``O`` outputs, ``I`` inputs, ``r`` rank.
"""

from pathlib import Path

import torch
from torch import Tensor

from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import CheckpointError, ConfigError
from echostream.model import load_model
from echostream.model.checkpoint import save_difference
from echostream.model.difference import Factors, base_of, has_difference, low_rank_changes
from echostream.training.adaptation.export import EXACT
from echostream.training.adaptation.low_rank import RANK


def average_checkpoints(one: Path, other: Path, share: float, output: Path) -> None:
    """Write ``1 - share`` of the one and ``share`` of the other, with the configuration of one.

    Raises:
        CheckpointError: if they do not stand on the same checkpoint, or have other weights.
        ConfigError: if the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share is {share}; expected a number between 0 and 1")
    for folder in (one, other):
        if not has_difference(folder):
            raise CheckpointError(f"{folder} stands on no other checkpoint; expected one that does")
    base = base_of(one)
    if base != base_of(other):
        raise CheckpointError(f"{one} stands on {base}, {other} on {base_of(other)}; expected one")
    model, second = load_model(one), load_model(other).state_dict()
    if not isinstance(model.encoder, WhisperEncoder):
        # A student's weights are no difference from its teacher's, and would be rounded to 4 bits.
        raise CheckpointError(
            f"the encoder of {one} is a {type(model.encoder).__name__}; expected Whisper's"
        )
    first, original = model.state_dict(), load_model(base).state_dict()
    changes = low_rank_changes(one), low_rank_changes(other)
    shapes = [{name: each.shape for name, each in own.items()} for own in (first, second)]
    if shapes[0] != shapes[1] or changes[0].keys() != changes[1].keys():
        raise CheckpointError(f"{one} and {other} have weights of other names or shapes")
    for name, tensor in first.items():
        if name in changes[0]:
            # The change comes on top of it.
            tensor.copy_(original[name])
        elif tensor.is_floating_point():
            tensor.lerp_(second[name], share)
    low_rank = {name: _mean(own, changes[1][name], share) for name, own in changes[0].items()}
    output.mkdir(parents=True, exist_ok=True)
    save_difference(model, base, output, exact=EXACT, low_rank=low_rank)


def _mean(one: Factors, other: Factors, share: float) -> Factors:
    """Factors of the nearest change of that rank to the mean of two changes ``[O, I]``."""
    mean: Tensor = torch.lerp(one[0] @ one[1], other[0] @ other[1], share)
    left, sizes, right = torch.linalg.svd(mean, full_matrices=False)
    sizes = sizes[:RANK].sqrt()
    return left[:, :RANK] * sizes, sizes[:, None] * right[:RANK]
