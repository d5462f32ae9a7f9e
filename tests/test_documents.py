"""What documents say is run: Python as it stands, command lines by the real parsers.

Python blocks of a document are executed in their order with one set of names. Only what a document
leaves open to the reader, such as a microphone, is given here.
"""

import argparse
import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from echostream.cli import COMMANDS
from echostream.hosts.simuleval.agent import EchoStreamAgent

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
WIDEST = 110

SILENCE = np.zeros(8_000, np.float32)
OPEN = {"microphone": [SILENCE] * 3, "samples": SILENCE, "sample_rate": 16_000}
"""What documents leave to the reader."""

RECORDING = "recording.wav"
LONGEST = 40
"""Lines of an example that is a file."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"    (?:\w+=\S+ )*((?:echostream|simuleval|python -m eval\.\w+)\b.*)")
_FILE = re.compile(r"`(\w+\.py)`")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_lines_are_not_wide(path: Path) -> None:
    # A row of a table is one line in Markdown, and what a program printed stands as it was printed.
    text = _FENCE.sub(lambda found: found[0] if found[1] else "", path.read_text(encoding="utf-8"))
    lines = text.splitlines()
    wide = [n for n, line in enumerate(lines, 1) if len(line) > WIDEST and line[:1] != "|"]
    assert not wide, f"lines of more than {WIDEST} columns: {wide}"


def python_blocks(path: Path) -> list[tuple[str, str]]:
    """Each Python block with the name of the file that the text before says it is, or ``""``."""
    text = path.read_text(encoding="utf-8")
    blocks = []
    end = 0
    for fence in _FENCE.finditer(text):
        if fence[1] == "python":
            named = _FILE.findall(text[end : fence.start()].split("\n#")[-1])
            blocks.append((named[-1] if named else "", fence[2]))
        end = fence.end()
    return blocks


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if python_blocks(path)], ids=lambda path: path.name
)
def test_python_runs_as_it_stands(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "eval" / "clips" / "numero.ogg", RECORDING)
    files = {file: block for file, block in python_blocks(path) if file}
    for file in files:  # Another document may have a file of the same name.
        sys.modules.pop(file.removesuffix(".py"), None)
    for file, block in files.items():
        (tmp_path / file).write_text(block)
        assert len(block.splitlines()) <= LONGEST, file
    importlib.invalidate_caches()
    names = dict(OPEN)
    for file, block in python_blocks(path):
        if not file:
            exec(compile(block, path.name, "exec"), names)
    for file in files:
        importlib.import_module(file.removesuffix(".py"))
        sys.modules.pop(file.removesuffix(".py"), None)


def command_lines(path: Path) -> Iterator[list[str]]:
    """Words of each command in the code of a document, without what is left open by ``...``."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        found = _COMMAND.match(line)
        if found is not None:
            # Remarks stand behind two blanks.
            command = re.split(r"(?<=\S)\s{2,}(?!-)|\s#|\s\(", found[1])[0]
            yield [word for word in shlex.split(command) if word != "..."]


def parser_of(command: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of a command line, and what is left for it."""
    if command[0] == "simuleval":
        parser = argparse.ArgumentParser()
        EchoStreamAgent.add_args(parser)
        for flag in ("agent", "agent-class", "source", "target", "output", "source-segment-size",
                     "device", "start-index", "eval-latency-unit"):  # fmt: skip
            parser.add_argument(f"--{flag}")
        for flag in ("computation-aware", "continue-unfinished"):
            parser.add_argument(f"--{flag}", action="store_true")
        return parser, command[1:]
    if command[0] == "python":
        module = command[2]
        found = importlib.util.find_spec(module)
        is_package = found is not None and found.submodule_search_locations is not None
        module += ".__main__" if is_package else ""
        return importlib.import_module(module).build_parser(), command[3:]
    assert command[1] in COMMANDS, command
    module = f"echostream.commands.{command[1].replace('-', '_')}"
    return importlib.import_module(module).build_parser(), command[2:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_command_lines_are_what_the_commands_take(path: Path) -> None:
    wrong = []
    for command in command_lines(path):
        if len(command) < 2:
            continue
        parser, arguments = parser_of(command)
        try:
            parser.parse_args(arguments)
        except SystemExit as stop:
            if stop.code:
                wrong.append(command)
    assert not wrong


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_drawing_names_what_there_is() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b[a-z_]+(?:/[a-z_]+)*(?:\.py|/)(?!\w)", text))
    missing = [name for name in named if not (ROOT / "echostream" / name).exists()]
    rooms = {path.parent.name for path in (ROOT / "echostream").glob("*/__init__.py")}
    assert not missing
    assert not [room for room in rooms if f"{room}/" not in text]
    assert len(text.splitlines()) <= 75
