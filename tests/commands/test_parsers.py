"""The command line answers at once: what takes long to import waits until the work begins."""

import subprocess
import sys

import pytest

from echostream.backend.select import _KINDS
from echostream.cli import COMMANDS, main
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
