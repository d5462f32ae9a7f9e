"""What comes with the package: a checkpoint and the configurations.

In the repository the two folders are links to ``checkpoints/tiny-es-en`` and ``configs``; a wheel
holds the files themselves.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent

SHIPPED_CHECKPOINT = (_FOLDER / "tiny-es-en").resolve()
"""The checkpoint that is used where none is named."""

SHIPPED_CONFIGS = (_FOLDER / "configs").resolve()
"""Folder of the configurations; each can be named without folder and ending, as ``tiny``."""
