"""What comes with the package: checkpoints and the configurations.

In the repository the folders are links into ``checkpoints`` and to ``configs``; a wheel holds the
files themselves.
"""

from pathlib import Path

SHIPPED_FOLDER = Path(__file__).parent
"""Each folder in it with a checkpoint can be named without its path."""

SHIPPED_CHECKPOINT = (SHIPPED_FOLDER / "tiny-es-en").resolve()
"""The checkpoint that is used where none is named."""

SHIPPED_CONFIGS = (SHIPPED_FOLDER / "configs").resolve()
"""Folder of the configurations; each can be named without folder and ending, as ``tiny``."""
