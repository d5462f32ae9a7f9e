"""Exported graphs on disk, found again by what they were made from."""

import dataclasses
import hashlib
import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from echostream.backend.graph import EngineKind, GraphSettings
from echostream.whole_file import sha256_of

FORMAT = "echostream-graph-3"
"""Changes when graphs of older versions can no longer be used."""
DESCRIPTION = "graph.json"
SUMS = "sums.json"
"""SHA-256 of the other files: a graph with damaged weights would compute something."""

_log = logging.getLogger(__name__)


def default_cache(checkpoint: Path) -> Path:
    """Where the graphs of a checkpoint are kept: beside its weights."""
    return checkpoint / "compiled"


def graphs_of(kind: EngineKind, fingerprint: str, precision: str) -> dict[str, object]:
    """What all graphs of an encoder have in common that can be used here, whatever their sizes."""
    return {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "backend": kind.name,
        "backend_version": kind.version(),
        "torch_version": torch.__version__,
        "precision": precision,
    }


def description_of(
    kind: EngineKind, fingerprint: str, precision: str, settings: GraphSettings
) -> dict[str, object]:
    """All that a graph depends on."""
    return {**graphs_of(kind, fingerprint, precision), **dataclasses.asdict(settings)}


def holds_graph(cache: Path, wanted: dict[str, object]) -> bool:
    """Whether there is a graph whose description has all that is ``wanted``, and perhaps more."""
    for path in cache.glob(f"{wanted['backend']}-*/{DESCRIPTION}"):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if wanted.items() <= found.items():
            return True
    return False


@contextmanager
def exported(
    cache: Path | None, description: dict[str, object], export: Callable[[Path], None]
) -> Iterator[Path]:
    """A folder with the graph of ``description``, from the cache or else made by ``export``.

    Without a cache, or with one that cannot be written, the folder is gone afterwards.
    """
    text = json.dumps(description, indent=1, sort_keys=True)
    name = f"{description['backend']}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    if cache is not None:
        folder = cache / name
        if _is_whole(folder, text):
            yield folder
            return
        if _export_into(folder, text, export):
            yield folder
            return
    with tempfile.TemporaryDirectory(prefix="echostream-") as temporary:
        export(Path(temporary))
        yield Path(temporary)


def _is_whole(folder: Path, text: str) -> bool:
    """The description is written last, so a graph that has one was complete."""
    if not folder.exists():
        return False
    try:
        if (folder / DESCRIPTION).read_text(encoding="utf-8") != text:
            return False
        if json.loads((folder / SUMS).read_text(encoding="utf-8")) == _sums(folder):
            return True
    except (OSError, ValueError):
        pass
    _log.warning("the compiled encoder in %s is not whole, so it is made again", folder)
    return False


def _sums(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.name not in (DESCRIPTION, SUMS))
    return {path.name: sha256_of(path) for path in sorted(files)}


def _export_into(folder: Path, text: str, export: Callable[[Path], None]) -> bool:
    """Export beside ``folder`` and move there at once, so that no half graph is ever found."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Not by tempfile, whose folders nobody else may read.
        temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
    except OSError as error:
        _log.warning("cannot keep the compiled encoder in %s: %s", folder.parent, error)
        return False
    try:
        export(temporary)
        (temporary / SUMS).write_text(json.dumps(_sums(temporary), indent=1), encoding="utf-8")
        (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process has put the same graph there in the meantime.
            return _is_whole(folder, text)
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
