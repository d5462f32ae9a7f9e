"""READ/WRITE policies and their registry; :mod:`echostream.policy.stub` shows how to add one."""

from __future__ import annotations

from echostream.policy.alignatt import AlignAtt
from echostream.policy.ctc import CtcGuided
from echostream.policy.local_agreement import LocalAgreement
from echostream.policy.offline import Offline
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
from echostream.policy.stub import Stub
from echostream.policy.wait_k import WaitK

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
