"""The sub-commands of ``echostream``: each module has its parser and a ``main`` that does the work.

What takes long to import (torch, fairseq) is imported when the work begins, never for the parser.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from echostream.errors import EchoStreamError


def ended(name: str, work: Callable[[], int | None], failure: int = 1) -> int:
    """Do the work of ``echostream NAME``; its exit status, or ``failure`` after a line of error."""
    try:
        return work() or 0
    except EchoStreamError as error:
        print(f"echostream {name}: error: {error}", file=sys.stderr)
        return failure


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
