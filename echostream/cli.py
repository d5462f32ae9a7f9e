"""The ``echostream`` command: one word, then that command's own options."""

import importlib
import sys
from collections.abc import Callable

COMMANDS = {
    "data": "download and prepare a corpus",
    "corpus": "read corpora in other layouts, write manifests for other tools",
    "train": "train a system on a prepared corpus",
    "distil": "make a small encoder of Whisper's, from its output",
    "adapt": "make Whisper's encoder streaming, from recordings without texts",
    "average": "mean of the weights of two adapted checkpoints",
    "vad": "teach a checkpoint with a text decoder where nobody speaks",
    "checkpoint": "make a checkpoint folder of a training run",
    "language-model": "estimate n-gram models for a checkpoint's search",
    "export": "compile a checkpoint's encoder before it is needed",
    "import-streamspeech": "make a checkpoint folder of a released StreamSpeech checkpoint",
    "import-whisper": "make a checkpoint folder of a Whisper checkpoint",
    "fetch": "have a checkpoint that does not come with the package, such as whisper-base",
    "transcribe": "recordings as text or subtitles",
    "live": "words of a microphone or of raw audio from a pipe as they are spoken",
    "serve": "a WebSocket server and a page that translate for many at once",
    "check": "look at all recordings of a list before a run",
    "score": "quality and latency from the logs of SimulEval runs",
    "verify": "certify that streaming equals offline",
    "replay": "do a flight record again and find the first difference",
    "list": "policies and decoders, with their options",
}
"""What ``echostream.commands`` has, and what it is for."""


def usage() -> str:
    """The text of ``echostream --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        (
            "usage: echostream COMMAND [OPTION ...]",
            "",
            *lines,
            "",
            "`echostream COMMAND --help` tells the options of a command. Scored runs are",
            "SimulEval's: simuleval --agent agents/echostream_agent.py --help",
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
    module = importlib.import_module(f"echostream.commands.{name.replace('-', '_')}")
    run: Callable[[list[str]], int] = module.main
    return run(rest)
