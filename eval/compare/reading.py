"""JSON values as frozen dataclasses; what does not fit is named by its place in the file."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from echostream.errors import DataError

T = TypeVar("T")


def read_as(kind: type[T], value: Any, where: str) -> T:
    """Make a ``kind``, a frozen dataclass, from the keys and values in ``value``.

    Every field is required; a key that ``kind`` does not have is left out, so that a later version
    may write more. ``where`` is the name of ``value`` in messages.

    Raises DataError for a key that is missing, a value of another type, and a number that is not
    finite.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {_shown(value)}; expected keys and values")
    hints = typing.get_type_hints(kind)
    missing = [name for name in hints if name not in value]
    if missing:
        raise DataError(
            f"{where} has no {', '.join(map(repr, missing))}; it has: "
            f"{', '.join(map(str, value)) or 'nothing'}"
        )
    fields = {name: _convert(hint, value[name], f"{where}.{name}") for name, hint in hints.items()}
    return kind(**fields)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return read_as(typing.cast(type, hint), value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # always `something | None` here
        return None if value is None else _convert(arguments[0], value, where)
    if origin is tuple:
        return _sequence(arguments, value, where)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise DataError(f"{where} is {_shown(value)}; expected keys and values")
        return {str(key): _convert(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    return _scalar(hint, value, where)


def _sequence(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise DataError(f"{where} is {_shown(value)}; expected a list")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise DataError(f"{where} has {len(value)} values; expected {len(hints)}")
    return tuple(
        _convert(hint, item, f"{where}[{place}]")
        for place, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DataError(f"{where} is {value}; expected a finite number (null stands for none)")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    raise DataError(f"{where} is {_shown(value)}; expected {names[hint]}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
