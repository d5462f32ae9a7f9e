"""The ``echostream`` command: one word, then that command's own options."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

# Modules are imported when their command is called, so that `echostream --help` is quick and a
# command needs only its own dependencies.
COMMANDS = {
    "data": ("echostream.training.recipes.cli", "download and prepare a corpus"),
    "corpus": (
        "echostream.training.formats.cli",
        "read corpora in other layouts, write manifests for other tools",
    ),
    "train": ("echostream.training.cli", "train a system on a prepared corpus"),
    "export": ("echostream.backend.cli", "compile a checkpoint's encoder before it is needed"),
    "checkpoint": (
        "echostream.training.export",
        "make a checkpoint folder of a training run",
    ),
    "language-model": (
        "echostream.training.language_model",
        "estimate n-gram models for a checkpoint's search",
    ),
    "score": ("echostream.scoring.cli", "quality and latency from the logs of SimulEval runs"),
    "import-streamspeech": (
        "echostream.baseline.cli",
        "make a checkpoint folder of a released StreamSpeech checkpoint",
    ),
    "verify": ("echostream.verification.cli", "certify that streaming equals offline"),
    "replay": ("echostream.flight.cli", "do a flight record again and find the first difference"),
    "list": ("echostream.session.listing", "policies and decoders, with their options"),
}


def usage() -> str:
    """The text of ``echostream --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: echostream COMMAND [OPTION ...]",
            "",
            *lines,
            "",
            "`echostream COMMAND --help` tells the options of a command. Translation runs in",
            "SimulEval: simuleval --agent agents/echostream_agent.py --help",
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Run ``echostream``; the exit status is the command's."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, *rest = arguments
    if name == "--version":
        from echostream import __version__

        print(f"echostream {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"echostream: unknown command {name!r}\n{usage()}", file=sys.stderr)
        return 2
    run: Callable[[list[str]], int] = importlib.import_module(COMMANDS[name][0]).main
    return run(rest)
