"""The command ``echostream data`` and the published recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.commands import data as cli
from echostream.training.corpus.manifest import leak_check, read_manifest
from echostream.training.corpus.split import SPLITS
from echostream.training.recipes.language_pairs import RECIPES

from .conftest import needs_dpkg
from .packages import EXPECTED, Archive, mini_recipe, names


@pytest.fixture
def command(full_archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setitem(RECIPES, "es-en", mini_recipe())
    monkeypatch.chdir(tmp_path)
    return full_archive


@needs_dpkg
def test_command(command: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["es-en"]) == 0
    rows = read_manifest(tmp_path / "data/es-en/manifest.tsv")
    leak_check(rows)
    assert names(rows) == EXPECTED
    assert not (tmp_path / "data/es-en/work").exists()
    out = capsys.readouterr().out
    assert "data/es-en" in out
    assert "11 (0.2)" in out  # 11 utterances, 5.1 + 2.4 + 3.0 s are 0.2 min


@needs_dpkg
def test_command_options(command: Archive, tmp_path: Path) -> None:
    arguments = ["es-en", "--output", "o", "--work", "w", "--keep-packages", "--jobs", "2"]
    assert cli.main([*arguments, "--corpora", "asterisk, drascula", "--splits", "dev,test"]) == 0
    rows = read_manifest(tmp_path / "o/manifest.tsv")
    assert names(rows) == [
        name for name in EXPECTED if "tuxpaint" not in name and "train" not in name
    ]
    assert len(list((tmp_path / "w/packages").glob("*.deb"))) == 5


@needs_dpkg
@pytest.mark.parametrize("fault", ["network", "corpus", "apt", "unwritable"])
def test_errors_are_one_line(
    command: Archive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    arguments = ["es-en"]
    if fault == "network":
        command.fail("E: Failed to fetch x  Temporary failure resolving 'deb.debian.org'\n")
    elif fault == "corpus":
        arguments += ["--corpora", "tatoeba"]
    elif fault == "apt":
        monkeypatch.setenv("PATH", "/nonexistent")
    else:
        (tmp_path / "file").write_text("in the way")
        arguments += ["--output", "file/below"]
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("echostream data: error: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["de-en"], ["es-en", "--jobs", "0"], ["es-en", "--splits", "valid"], []]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: echostream data" in capsys.readouterr().err


def test_published_recipes_are_consistent() -> None:
    for name, published in RECIPES.items():
        assert name == published.name == f"{published.source}-{published.target}"
        for corpus in published.corpora:
            assert set(corpus.versions) == set(corpus.reader.packages)
            assert set(corpus.counts) == set(SPLITS)
    asterisk = RECIPES["es-en"].corpora[0]
    assert (asterisk.name, asterisk.counts["test"]) == ("asterisk", 48)
