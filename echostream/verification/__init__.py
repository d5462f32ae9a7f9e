"""Verification that streaming equals offline, module by module, in every backend."""

from echostream.verification.certificate import Certificate
from echostream.verification.verify import (
    Settings,
    verify,
    verify_checkpoint,
    verify_random_weights,
)

__all__ = ["Certificate", "Settings", "verify", "verify_checkpoint", "verify_random_weights"]
