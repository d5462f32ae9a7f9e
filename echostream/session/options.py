"""Options of the system: one dataclass and one checked reader.

Parsers have them from :mod:`echostream.system_arguments`; what a host or debugging needs is apart,
in :mod:`echostream.hosts.options`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from echostream.config import CONFORMER_MODES
from echostream.constants import BACKENDS, CHANNELS, OUTPUT_UNITS, PRECISIONS, TASKS
from echostream.errors import ConfigError
from echostream.system_arguments import flag

T = TypeVar("T")


@dataclass(frozen=True)
class SystemOptions:
    """What is translated with; ``None`` leaves it to the checkpoint's config."""

    checkpoint: str | None = None
    random_weights: str | None = None
    task: str = "s2tt"
    source_language: str | None = None
    target_language: str | None = None
    generator: str | None = None
    generator_options: str | Mapping[str, Any] | None = None
    policy: str | None = None
    policy_options: str | Mapping[str, Any] | None = None
    decoder: str | None = None
    decoder_options: str | Mapping[str, Any] | None = None
    output_unit: str = "word"
    pause_ms: int | None = None
    chunk_ms: int | None = None
    left_context_ms: int | None = None
    right_context_ms: int | None = None
    max_future_frames: str | None = None
    encoder_mode: str | None = None
    channel: str | None = None
    backend: str = "torch"
    precision: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        for name, known in (
            ("task", TASKS),
            ("output_unit", OUTPUT_UNITS),
            ("channel", (None, *CHANNELS)),
            ("encoder_mode", (None, *CONFORMER_MODES)),
            ("backend", BACKENDS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{flag(name)} is {getattr(self, name)!r}; expected one of "
                    f"{', '.join(str(each) for each in known if each is not None)}"
                )
        if self.checkpoint is not None and self.random_weights is not None:
            raise ConfigError(
                "--checkpoint and --random-weights were both given; expected one of them"
            )
        for name, least in (("threads", 1), ("pause_ms", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{flag(name)} is {value}; expected at least {least}")


def read_options(cls: type[T], values: Mapping[str, Any], *, others: bool = False) -> T:
    """An options dataclass from what somebody wrote: on a command line, in YAML, as attributes.

    ``chunk-ms`` is ``chunk_ms``, ``"640"`` is 640, and what is ``None`` keeps its default.

    Args:
        cls: the dataclass.
        values: by name.
        others: whether there are options of somebody else among them, which are passed over.

    Raises:
        ConfigError: for a name that is not an option, with the nearest; for a value of the wrong
            kind.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    known = {key.replace("-", "_"): value for key, value in values.items()}
    if not others:
        refuse_unknown(known, fields)
    hints = get_type_hints(cls)
    return cls(
        **{
            name: _value(name, get_args(hints[name]) or (hints[name],), value)
            for name, value in known.items()
            if name in fields and value is not None
        }
    )


def refuse_unknown(values: Iterable[str], known: Iterable[str], *, others: bool = False) -> None:
    """ConfigError if a name is not known; with ``others`` only if it looks like a slip."""
    for name in values:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8 if others else 0.5)
        if near or not others:
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"there is no option {name!r}; {hint}")


def _value(name: str, kinds: tuple[Any, ...], value: Any) -> Any:
    """The value as a field wants it that is of one of ``kinds``, words and numbers first."""
    if isinstance(value, Mapping) and any(get_origin(kind) is Mapping for kind in kinds):
        return value
    kind = kinds[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is str and (isinstance(value, str | Path) or is_number):
        return str(value)
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is int and (is_number or isinstance(value, str)):
        try:
            if int(value) == float(value):
                return int(value)
        except (ValueError, OverflowError):
            pass
    expected = {int: "a whole number", bool: "true or false", str: "a word"}[kind]
    raise ConfigError(f"{flag(name)} is {value!r}; expected {expected}")
