"""What runs a compiled graph.

An engine is made from a file that its ``export`` wrote, so that a later start finds the file ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from echostream.backend.graph import ChunkGraph


class Engine(Protocol):
    """A graph ready to run."""

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The inputs and results of :class:`ChunkGraph`.

        The results are new tensors, and the inputs stay as they are.
        """


class EngineKind(Protocol):
    """A package that can compile a graph."""

    name: str
    file_name: str
    """Of the exported graph, in a folder of its own."""
    at_once: bool
    """Whether a graph is made in seconds; for one that takes minutes nobody waits unasked."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it computes in here, of ``float32`` and ``int8``."""

    def version(self) -> str | None:
        """Of the package; ``None`` if it is not installed."""

    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        """Write the graph, ``precision`` being ``float32`` or ``int8``."""

    def load(self, folder: Path, precision: str, threads: int) -> Engine:
        """Compile what :meth:`export` wrote."""
