"""Files in which something is kept for the next call, and digests that say whether it still fits.

What is kept is a tree of dataclasses and tensors under the codec of a stream's state, with its
checksum; a file is whole or not there.
"""

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
    codec,
    constants,
    decoder,
    encoder,
    kernel,
    model,
    policy,
    session,
)
from echostream.decoder.ctc import ctc_head
from echostream.errors import DataError, StateMismatchError
from echostream.session import listener
from echostream.whole_file import sha256_of, write_whole

_PACKAGE = Path(echostream.__file__).parent
_SOURCE = (".py", ".cpp", ".h")


def write_kept(path: Path, tree: Any) -> None:
    """Keep a tree; DataError if the file cannot be written."""
    write_whole(path, codec.encode(tree, path.name))


def read_kept(path: Path) -> Any:
    """What was kept in a file. DataError if it is missing, damaged or something else."""
    try:
        return codec.decode(path.read_bytes(), path.name)
    except (OSError, StateMismatchError) as error:
        raise DataError(
            f"{path}: is not what was kept ({error}); run the same command again, which makes it "
            "anew"
        ) from error


def is_kept(path: Path) -> bool:
    """Whether a file is there and whole."""
    try:
        return path.exists() and read_kept(path) is not None
    except DataError:
        return False


def _places(*modules: ModuleType) -> tuple[Path, ...]:
    """The folder of a package, the file of a module."""
    files = [Path(module.__file__ or "") for module in modules]
    return tuple(file.parent if file.name == "__init__.py" else file for file in files)


ENCODING_CODE = _places(
    audio, encoder, baseline, backend, kernel, model, ctc_head, listener, constants
)
"""What the kept frames, log-probabilities and costs of a listener depend on."""

WRITING_CODE = (*_places(decoder, policy, session), Path(__file__).parent)
"""What words are written when, and how, depends on."""

ALL_CODE = (*ENCODING_CODE, *WRITING_CODE)


def digest(values: Any) -> str:
    """Of plain values, the same for equal ones in every run."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@cache
def code_digest(places: tuple[Path, ...]) -> str:
    """Of the source in files and folders.

    A version number would not change between two edits, and results of the old code would then
    pass for results of the new.
    """
    files = [
        (path.relative_to(place.parent).as_posix(), sha256_of(path))
        for place in places
        for path in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if path.suffix in _SOURCE
    ]
    return digest(files)


def plugin_digest(instance: object) -> str | None:
    """Of the file that defines a policy or decoder; ``None`` if it belongs to the package.

    What a file from outside imports in turn is not looked at.
    """
    path = inspect.getsourcefile(type(instance))
    if path is None or Path(path).resolve().is_relative_to(_PACKAGE.resolve()):
        return None
    return sha256_of(path)
