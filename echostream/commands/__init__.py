"""The sub-commands of ``echostream``: each module has its ``build_parser`` and its ``main``.

What takes long to import (torch, fairseq) is imported when the work begins, never for the parser.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echostream.errors import EchoStreamError

Main = Callable[..., int]
"""Takes the arguments, by default those of the process, and gives the exit status."""


def command(
    name: str, build_parser: Callable[[], argparse.ArgumentParser], failure: int = 1
) -> Callable[[Callable[[argparse.Namespace], int | None]], Main]:
    """Makes the ``main`` of ``echostream NAME`` of what it does with parsed arguments.

    Their ``command_line`` is the whole command. The status is what is given, ``None`` being 0;
    ``failure`` after an :class:`EchoStreamError`; argparse's own for wrong usage.
    """

    def made(work: Callable[[argparse.Namespace], int | None]) -> Main:
        def main(argv: Sequence[str] | None = None) -> int:
            arguments = sys.argv[1:] if argv is None else argv
            try:
                args = build_parser().parse_args(arguments)
            except SystemExit as stop:  # argparse has printed its message, or the help
                return stop.code if isinstance(stop.code, int) else 2
            args.command_line = shlex.join(["echostream", name, *arguments])
            return ended(f"echostream {name}", lambda: work(args), failure)

        return main

    return made


def ended(name: str, work: Callable[[], int | None], failure: int = 1) -> int:
    """Do the work; its exit status. What is wrong, or an interruption, is said in one line."""
    try:
        return work() or 0
    except EchoStreamError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return failure
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def add_settings(
    parser: argparse.ArgumentParser, defaults: object, helps: Mapping[str, str], **more: Any
) -> None:
    """An option for each field of ``defaults`` that has a help text, of the field's own type.

    ``more`` are further arguments of ``add_argument`` by the field's name.
    """
    for name, text in helps.items():
        value = getattr(defaults, name)
        given = {"type": type(value), "default": value, **more.get(name, {})}
        shown = f"{text} (%(default)s)" if value not in ("", None) else text
        parser.add_argument("--" + name.replace("_", "-"), help=shown.strip(), **given)


def positive(text: str) -> int:
    """For parsers: a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
