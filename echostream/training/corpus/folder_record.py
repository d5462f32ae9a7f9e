"""What an output folder already holds: packages and finished splits per corpus (recipe.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from echostream.errors import DataError
from echostream.whole_file import write_whole

RECORD = "recipe.json"


@dataclass(frozen=True)
class CorpusRecord:
    """SHA-256 of each package that the corpus was begun with, and the splits that are finished."""

    packages: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


def read_record(output: Path, recipe: str) -> dict[str, CorpusRecord]:
    """The record of the folder, empty where there is none.

    Raises `DataError` when it is damaged or of another recipe.
    """
    path = output / RECORD
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name = content["recipe"]
        corpora = {
            corpus: CorpusRecord(dict(entry["packages"]), tuple(entry["splits"]))
            for corpus, entry in content["corpora"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error!r}); delete {output} and run the recipe again"
        ) from error
    if name != recipe:
        raise DataError(
            f"{output} holds the recipe {name!r}, expected {recipe!r}; "
            "name another folder with --output"
        )
    return corpora


def write_record(output: Path, recipe: str, corpora: Mapping[str, CorpusRecord]) -> None:
    """Writes what `read_record` reads."""
    entries = {name: asdict(record) for name, record in corpora.items()}
    content = {"recipe": recipe, "corpora": entries}
    write_whole(output / RECORD, json.dumps(content, indent=2, sort_keys=True) + "\n")
