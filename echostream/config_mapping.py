"""Frozen dataclasses from plain values (YAML, JSON) and back, with errors that name the key."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from echostream.errors import ConfigError

T = TypeVar("T")

PATH_OF_CLASS = "package.module:Class"
"""As the ``name`` of a dataclass in a union: it is meant by every name with a colon."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`ConfigError` with the message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_positive(config: object, part: str, *names: str) -> None:
    """Raise :class:`ConfigError` unless these fields of a part of the configuration are above 0."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{part}.{name} is {value}; expected a positive number")


class EncoderKeys:
    """What the configurations of all encoders with a name of their own have in common."""

    name: str

    def __post_init__(self) -> None:
        check_types(self)
        expected = type(self).name  # a field's default is a class attribute
        message = f"encoder.name is {self.name!r}; expected {expected!r} for these keys"
        require(self.name == expected, message)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the encoder's class: all fields but ``name``."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: getattr(self, field.name) for field in fields if field.name != "name"}


def require_even_heads(embed_dim: int, num_heads: int) -> None:
    """Raise :class:`ConfigError` unless each attention head has an even number of channels."""
    require(
        embed_dim % (2 * num_heads) == 0,
        f"encoder.embed_dim is {embed_dim}; expected a multiple of {2 * num_heads}, an even number "
        "of channels for each attention head",
    )


def require_dropout(rate: float) -> None:
    """Raise :class:`ConfigError` unless it is a rate of dropout."""
    require(0.0 <= rate < 1.0, f"encoder.dropout is {rate}; expected 0.0 to below 1")


def read_yaml(
    path: str | Path,
    what: str,
    change: Callable[[str], str] = str,
    *,
    expected: str = "a YAML file",
) -> Any:
    """The values in a YAML file, to whose text ``change`` is done first.

    Raises:
        ConfigError: if the file, which is called ``what``, cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(change(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(
            f"cannot read the {what} {path}: {error.strerror}; expected {expected}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error


def check_types(config: object) -> None:
    """A dataclass made in code is held to the same types as one read from a file."""
    hints = typing.get_type_hints(type(config))
    for name, hint in hints.items():
        if not dataclasses.is_dataclass(getattr(config, name)):  # checked when it was made
            _convert(hint, getattr(config, name), name)


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make a ``kind`` (a frozen dataclass) from nested plain values.

    Where a field may be one of several dataclasses, the values' ``name`` says which; without it
    the first is meant.

    Raises:
        ConfigError: for a key that ``kind`` does not have or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'the configuration'} is {values!r}; expected keys and values")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown configuration key {path!r}; {advice}")
        arguments[key] = _convert(hints[key], value, path)
    return kind(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    """``value`` as the type ``hint``, or a :class:`ConfigError` that names ``path``."""
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        return from_mapping(typing.cast(type, hint), value, path)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = tuple(o for o in typing.get_args(hint) if dataclasses.is_dataclass(o))
        if kinds and not (value is None and type(None) in typing.get_args(hint)):
            kind = kinds[0] if len(kinds) == 1 else _named(kinds, value, path)
            return _convert(kind, value, path)
        for option in typing.get_args(hint):
            try:
                return _convert(option, value, path)
            except ConfigError:
                continue
    elif origin is tuple:
        items = typing.get_args(hint)
        if isinstance(value, list | tuple) and (items[-1] is ... or len(items) == len(value)):
            return tuple(_convert(items[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    elif origin is dict or hint is dict:
        if isinstance(value, str | Mapping):
            return parse_options(value, path)
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif hint is type(None):
        if value is None:
            return None
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise ConfigError(f"{path} is {value!r} ({type(value).__name__}); expected {name}")


def _named(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    """Which of ``kinds`` the ``name`` in ``value`` asks for."""
    by_name = {kind.name: kind for kind in kinds}  # a field's default is a class attribute
    name = value.get("name", next(iter(by_name))) if isinstance(value, Mapping) else None
    if ":" in str(name) and PATH_OF_CLASS in by_name:
        return by_name[PATH_OF_CLASS]
    if isinstance(value, Mapping) and name not in by_name:
        near = difflib.get_close_matches(str(name), by_name, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(by_name)}"
        raise ConfigError(f"{path}.name is {name!r}; {advice}")
    return by_name.get(name, kinds[0])


def parse_options(text: str | Mapping[str, Any] | None, flag: str) -> dict[str, Any]:
    """``"k=3,stride=2"`` to ``{"k": 3, "stride": 2}``; values are read as YAML reads them."""
    if isinstance(text, Mapping):
        return dict(text)
    result: dict[str, Any] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"{flag} has {part.strip()!r}; expected name=value, several joined by commas, "
                "such as k=3,stride=2"
            )
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"{flag} {key.strip()} is {value!r}; expected a number, a word, true or false"
            ) from error
        if isinstance(parsed, float) and math.isnan(parsed):
            raise ConfigError(f"{flag} {key.strip()} is {value!r}; expected a number")
        result[key.strip()] = parsed
    return result


def to_mapping(config: object) -> dict[str, Any]:
    """Nested plain values (dict, list, number, string, None) for YAML or JSON."""
    plain = dataclasses.asdict(config)  # type: ignore[call-overload]
    return typing.cast(dict[str, Any], _plain(plain))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
