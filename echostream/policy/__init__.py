"""READ/WRITE policies and their registry."""

from echostream.policy.policies import AlignAtt, CtcGuided, LocalAgreement, Offline, Stub, WaitK
from echostream.policy.protocol import (
    Decision,
    Policy,
    PolicyContext,
    create,
    describe,
    names,
    needs_encoder_history,
    register,
)

__all__ = [
    "AlignAtt",
    "CtcGuided",
    "Decision",
    "LocalAgreement",
    "Offline",
    "Policy",
    "PolicyContext",
    "Stub",
    "WaitK",
    "create",
    "describe",
    "names",
    "needs_encoder_history",
    "register",
]
