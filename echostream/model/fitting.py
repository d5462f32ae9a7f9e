"""Whether tensors are those of a model."""

from collections.abc import Mapping

from torch import Tensor

from echostream.errors import CheckpointError

_SHOWN = 10
"""How many misfitting tensors an error message lists."""


def check_fit(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, prefix: str = ""
) -> None:
    """Compare names and shapes with those of ``expected``.

    Args:
        tensors: what was found.
        expected: a model's state; its values do not matter.
        what: the beginning of the message.
        prefix: what stands before each name in the file.

    Raises:
        CheckpointError: if they differ; the message lists the first misfits and counts the rest.
    """
    misfits = [f"missing {prefix}{name}" for name in expected if name not in tensors]
    misfits += [f"unexpected {prefix}{name}" for name in tensors if name not in expected]
    misfits += [
        f"{prefix}{name}: found {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if misfits:
        more = f" and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise CheckpointError(f"{what}: {'; '.join(misfits[:_SHOWN])}{more}")
