"""Digests: what decides whether something kept from an earlier call may be used again."""

from __future__ import annotations

import hashlib
import inspect
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import echostream
from echostream import (
    audio,
    backend,
    baseline,
    constants,
    decoder,
    encoder,
    kernel,
    model,
    policy,
    session,
)
from echostream.decoder.ctc import ctc_head
from echostream.session import listener

_PACKAGE = Path(echostream.__file__).parent
_SOURCE = (".py", ".cpp", ".h")


def _places(*modules: ModuleType) -> tuple[Path, ...]:
    """The folder of a package, the file of a module."""
    files = [Path(module.__file__ or "") for module in modules]
    return tuple(file.parent if file.name == "__init__.py" else file for file in files)


ENCODING_CODE = _places(
    audio, encoder, baseline, backend, kernel, model, ctc_head, listener, constants
)
"""What the kept frames, log-probabilities and costs of a listener depend on."""

SEARCH_CODE = _places(decoder)
"""What the results of a search depend on."""

WRITING_CODE = (*_places(policy, session), Path(__file__).parent)
"""What words are written when, and how, depends on, beside the searches."""


def digest(values: Any) -> str:
    """Of plain values, the same for equal ones in every run."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def file_digest(path: str | Path) -> str:
    """Of a file's bytes; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_digest(places: tuple[Path, ...]) -> str:
    """Of the source in files and folders.

    A version number would not change between two edits, and results of the old code would then
    pass for results of the new.
    """
    sums = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in _SOURCE:
                name = path.relative_to(place.parent).as_posix()
                sums.update(f"{name} {file_digest(path)}\n".encode())
    return sums.hexdigest()


def plugin_digest(instance: object) -> str | None:
    """Of the file that defines a policy or decoder; ``None`` if it belongs to the package.

    What a file from outside imports in turn is not looked at.
    """
    path = inspect.getsourcefile(type(instance))
    if path is None or Path(path).resolve().is_relative_to(_PACKAGE.resolve()):
        return None
    return file_digest(path)
