"""Hypotheses beside their references, for reading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from echostream.errors import DataError
from echostream.scoring.instance import Instance

_LABEL_WIDTH = 12
_MIN_WIDTH = 40


def format_listing(instances: Iterable[Instance], width: int = 100) -> str:
    """One block of lines per instance, with a blank line between two; no line is longer than width.

    A block has index and source file, reference, hypothesis, and when the first and the last word
    were written, in ms of audio. A path that is too long loses its beginning.

    Raises DataError for a width below 40 columns.
    """
    if width < _MIN_WIDTH:
        raise DataError(f"width is {width} columns; expected at least {_MIN_WIDTH}")
    return "\n\n".join(_block(instance, width) for instance in instances)


def _block(instance: Instance, width: int) -> str:
    head = f"[{instance.index}] "
    lines = [head + _end_of(instance.source_file, width - len(head))]
    lines += _labelled("reference", instance.reference, width)
    lines += _labelled("hypothesis", instance.prediction, width)
    lines += _labelled("written", _times(instance), width)
    return "\n".join(lines)


def _times(instance: Instance) -> str:
    source = f"source {instance.source_length:.0f} ms"
    if not instance.delays:
        return f"no word, {source}"
    first, last = instance.delays[0], instance.delays[-1]
    return f"first word at {first:.0f} ms, last at {last:.0f} ms, {source}"


def _labelled(label: str, text: str, width: int) -> list[str]:
    indent = " " * (_LABEL_WIDTH + 2)
    first = f"  {label:<{_LABEL_WIDTH}}"
    # An empty text keeps its line: that nothing was said is what the reader looks for.
    shown = text if text.strip() else "(empty)"
    return textwrap.wrap(shown, width, initial_indent=first, subsequent_indent=indent)


def _end_of(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[len(text) - width + 3 :]
