"""The command line answers at once: what takes long to import waits until the work begins."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from echostream.backend.select import _KINDS
from echostream.cli import COMMANDS, main
from echostream.commands import verify
from echostream.constants import BACKENDS

HEAVY = ("torch", "fairseq", "pandas", "sklearn", "matplotlib", "onnx", "onnxruntime", "openvino")

SHOWS_HELP = """
import sys
from echostream.cli import main
for arguments in (["--help"], *([name, "--help"] for name in sys.argv[1:])):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status in (0, None), arguments
    print(*(name for name in {heavy} if name in sys.modules))
"""


def test_help_imports_nothing_heavy() -> None:
    script = SHOWS_HELP.format(heavy=HEAVY)
    command = [sys.executable, "-c", script, *COMMANDS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = done.stdout
    for name in COMMANDS:
        assert f"usage: echostream {name}" in shown
    assert shown.splitlines().count("") >= len(COMMANDS)
    assert not [line for line in shown.splitlines() if line and set(line.split()) <= set(HEAVY)]


def test_the_parsers_name_the_backends_there_are() -> None:
    assert ("torch", *_KINDS, "auto") == BACKENDS


def test_unknown_commands_are_answered_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scoer"]) == 2
    assert "unknown command 'scoer'" in capsys.readouterr().err
    assert main(["--version"]) == 0


@pytest.mark.parametrize("size", ["long", "0", "nan", "inf"])
def test_a_size_of_segments_that_is_none_is_named(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "out", "--segment-size", size]) == 2
    assert f"'{size}' is not a number of milliseconds above 0" in capsys.readouterr().err


def test_a_certificate_that_cannot_be_written_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "_verified", lambda args: SimpleNamespace(to_json=lambda: "{}"))
    assert main(["verify", "--output", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
