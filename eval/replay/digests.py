"""Digests: what decides whether something kept from an earlier call may be used again."""

from __future__ import annotations

import hashlib
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import echostream

_PACKAGE = Path(echostream.__file__).parent

ENCODING_CODE = (
    "audio",
    "encoder",
    "baseline",
    "backend",
    "model",
    "decoder/ctc_head.py",
    "agent/listener.py",
    "constants.py",
)
"""What the kept frames, log-probabilities and costs of a listener depend on."""

SEARCH_CODE = ("decoder",)
"""What the results of a search depend on."""

WRITING_CODE = (
    "policy",
    "agent/writer.py",
    "agent/hypothesis.py",
    "agent/segment_log.py",
    "decoder/words.py",
    "decoder/repetition.py",
    "decoder/tokenizer.py",
    "replay",
)
"""What words are written when, and how, depends on."""


def digest(values: Any) -> str:
    """Of plain values, the same for equal ones in every run."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_digest(path: str | Path) -> str:
    """Of a file's bytes; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_digest(names: tuple[str, ...]) -> str:
    """Of the source of rooms and modules, named from the package's folder.

    A version number would not change between two edits, and results of the old code would then
    pass for results of the new.
    """
    sums = hashlib.sha256()
    for name in names:
        place = _PACKAGE / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            sums.update(f"{path.relative_to(_PACKAGE).as_posix()} {file_digest(path)}\n".encode())
    return sums.hexdigest()


def plugin_digest(instance: object) -> str | None:
    """Of the file that defines a policy or decoder; ``None`` if it belongs to the package.

    What a file from outside imports in turn is not looked at.
    """
    path = inspect.getsourcefile(type(instance))
    if path is None or Path(path).resolve().is_relative_to(_PACKAGE.resolve()):
        return None
    return file_digest(path)
