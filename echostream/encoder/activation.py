"""Swoosh activations of Zipformer (arXiv 2310.11230, equations 5 and 6)."""

from torch import Tensor
from torch.nn import functional

from echostream.kernel import kernel_for

# softplus(-1): makes SwooshR(0) = 0.
_SWOOSH_R_OFFSET = 0.313261687


def swoosh_l(x: Tensor) -> Tensor:
    """``log(1 + exp(x - 4)) - 0.08 x - 0.035``, elementwise: for modules that are mostly off."""
    return _swoosh(x, 4.0, 0.035)


def swoosh_r(x: Tensor) -> Tensor:
    """``log(1 + exp(x - 1)) - 0.08 x - 0.313261687``, elementwise: zero at the origin."""
    kernel = kernel_for(x)
    if kernel is not None:
        return kernel.swoosh_r(x)
    return _swoosh(x, 1.0, _SWOOSH_R_OFFSET)


def _swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    # In place on softplus's own result, which its gradient does not need.
    return functional.softplus(x - shift).sub_(x, alpha=0.08).sub_(offset)
