"""A student that starts from a smaller encoder of the same kind, which already hears words.

After Net2Net (Chen et al. 2016, arXiv 1511.05641): what is new does nothing at first. Layers that a
stack has more are nearly passed by, and new hidden channels are read with weights of zero.

Symbols: ``I`` inputs, ``O`` outputs.
"""

import torch
from torch import Tensor, nn

from echostream.errors import ConfigError
from echostream.model import SpeechModel
from echostream.training.adaptation.student import Student

_NEW_BYPASS = 0.05
"""How much of a new layer is added: little, but enough that it learns."""
_BYPASS = ".bypass.scale"


@torch.no_grad()
def grow(student: Student, smaller: SpeechModel) -> None:
    """Give a student the weights of a smaller model, and its heads those of heads of one size.

    Raises:
        ConfigError: if the smaller encoder is no part of the student's, or hears other features.
    """
    if (heard := smaller.config.audio.features) != student.features:
        raise ConfigError(
            f"audio.features of the smaller model is {heard!r}, of the student "
            f"{student.features!r}; expected the same, since weights mean nothing elsewhere"
        )
    own = student.encoder.state_dict()
    for name, old in smaller.encoder.state_dict().items():
        if name not in own or not _fits(old, own[name]):
            found = tuple(own[name].shape) if name in own else "no such tensor"
            raise ConfigError(
                f"{name} of the smaller encoder has the shape {tuple(old.shape)}, of the student's "
                f"{found}; expected a student with the same channels, and at least as many layers "
                "and hidden channels"
            )
        # Outputs that are new keep their random weights.
        new = own[name]
        if new.dim() == 2:
            new[:, old.shape[1] :] = 0.0
        new[tuple(map(slice, old.shape))] = old
    student.feature_mean.copy_(smaller.cmvn_mean)
    student.feature_std.copy_(smaller.cmvn_std)
    known = smaller.encoder.state_dict().keys()
    for name, tensor in own.items():
        if name.endswith(_BYPASS) and name not in known:
            tensor.fill_(_NEW_BYPASS)
    for name, head in student.heads.items():
        if name in smaller.heads and _same(head, smaller.heads[name]):
            head.load_state_dict(smaller.heads[name].state_dict())


def _fits(old: Tensor, new: Tensor) -> bool:
    """Whether ``[O, I]`` or ``[O]`` are at most as large; convolutions do not grow."""
    if old.dim() > 2:
        return old.shape == new.shape
    return old.dim() == new.dim() and all(a <= b for a, b in zip(old.shape, new.shape, strict=True))


def _same(one: nn.Module, other: nn.Module) -> bool:
    sizes = ([tensor.shape for tensor in each.state_dict().values()] for each in (one, other))
    return next(sizes) == next(sizes)
