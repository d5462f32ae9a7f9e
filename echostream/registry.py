"""Named classes that can be chosen by a word: the decoders and the policies.

A class gets its name with the decorator :meth:`Registry.register`. A class outside the package
needs no name: ``package.module:Class`` (or ``package.module.Class``) imports it, which runs that
module's code, so such a path should come from the user and never from data that was downloaded.

Options are the constructor's parameters. A dataclass can give its fields a range and a help text
with :func:`option` and check them with :func:`check_options`.
"""

import dataclasses
import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from echostream.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """Classes of one kind by name.

    Args:
        kind: what the classes are, in the singular, for messages ("policy").
        methods: methods that every class must have; a class without one is refused.
        supplied: options that the program fills in by itself; `describe` leaves them out.
    """

    def __init__(self, kind: str, methods: Iterable[str], supplied: Iterable[str] = ()) -> None:
        self.kind = kind
        self._methods = tuple(methods)
        self._supplied = frozenset(supplied)
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: make the class available as ``name``.

        Raises:
            ConfigError: if the name has a dot, colon or blank in it, or belongs to another class,
                or the class lacks a method of its kind. Registering the same class again (its
                module was imported a second time) replaces it.
        """
        if not name or any(c in ".:" or c.isspace() for c in name):
            raise ConfigError(
                f"cannot register a {self.kind} as {name!r}; expected a name without '.', ':' and "
                "blanks, which belong to the package.module:Class form"
            )

        def add(cls: C) -> C:
            self._check_class(cls, name)
            old = self._classes.get(name)
            if old is not None and _origin(old) != _origin(cls):
                raise ConfigError(
                    f"{self.kind} {name!r} is already {_origin(old)}; choose another name for "
                    f"{_origin(cls)}"
                )
            self._classes[name] = cls
            return cls

        return add

    def names(self) -> tuple[str, ...]:
        """Registered names in alphabetical order."""
        return tuple(sorted(self._classes))

    def resolve(self, name: str) -> type[T]:
        """The class behind a registered name or a dotted path.

        Raises:
            ConfigError: unknown name (the message names the nearest), or a path that cannot be
                imported or does not lead to a class of this kind.
        """
        if name in self._classes:
            return self._classes[name]
        if ":" in name or "." in name:
            return self._load(name)
        raise ConfigError(
            f"unknown {self.kind} {name!r}; {_advice(name, self.names())}. A class outside the "
            "package is written package.module:Class"
        )

    def create(self, name: str, **options: Any) -> T:
        """Make an instance of the class behind ``name`` with these constructor options.

        Raises:
            ConfigError: as :meth:`resolve`; an option that the class does not take or that is
                missing; a value that the class refuses.
        """
        cls = self.resolve(name)
        parameters = inspect.signature(cls).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        known = tuple(p.name for p in named)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            for key in options:
                if key not in known:
                    advice = _advice(key, known) if known else "it takes no options"
                    raise ConfigError(f"{self.kind} {name!r} has no option {key!r}; {advice}")
        missing = [p.name for p in named if p.default is p.empty and p.name not in options]
        if missing:
            raise ConfigError(
                f"{self.kind} {name!r} needs the option {missing[0]!r}, which was not given; "
                f"its options: {', '.join(known)}"
            )
        return cls(**options)

    def describe(self) -> str:
        """Names, summaries and options of all registered classes, for ``--help``."""
        lines: list[str] = []
        for name in self.names():
            cls = self._classes[name]
            summary = (inspect.getdoc(cls) or "").partition("\n\n")[0]
            lines.append(f"{name}: {' '.join(summary.split())}")
            lines.extend(f"    {text}" for text in _describe_options(cls, self._supplied))
        return "\n".join(lines)

    def _load(self, path: str) -> type[T]:
        module_name, _, attribute = path.rpartition(":" if ":" in path else ".")
        parts = [*module_name.split("."), *attribute.split(".")]
        if not all(part.isidentifier() for part in parts):
            raise ConfigError(
                f"{path!r} is not the path of a {self.kind} class; expected package.module:Class"
            )
        try:
            found: Any = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigError(
                f"cannot import {module_name!r} for the {self.kind} {path!r}: {error}; is its "
                "folder on PYTHONPATH?"
            ) from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                classes = [n for n, v in vars(found).items() if isinstance(v, type)]
                raise ConfigError(
                    f"{module_name!r} has no {attribute!r} for the {self.kind} {path!r}; "
                    f"{_advice(part, classes) if classes else 'it holds no class'}"
                )
            found = getattr(found, part)
        self._check_class(found, path)
        cls: type[T] = found
        return cls

    def _check_class(self, found: object, name: str) -> None:
        if not isinstance(found, type):
            raise ConfigError(
                f"{self.kind} {name!r} is a {type(found).__name__}; expected a class with "
                f"{self._needs()}"
            )
        for method in self._methods:
            if not callable(getattr(found, method, None)):
                raise ConfigError(
                    f"{self.kind} {name!r} ({_origin(found)}) has no method {method!r}; expected a "
                    f"class with {self._needs()}"
                )

    def _needs(self) -> str:
        return " and ".join(f"{method}()" for method in self._methods)


def option(
    kind: type, help: str, *, default: Any = dataclasses.MISSING, minimum: float | None = None
) -> Any:
    """A dataclass field that is an option: ``kind`` and ``minimum`` are for :func:`check_options`.

    Without ``default`` the option must be given. A default of ``None`` is what ``help`` says.
    """
    metadata = {"kind": kind, "help": help, "minimum": minimum}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_options(instance: Any, what: str) -> None:
    """Check the fields of a dataclass ``instance`` that were made with :func:`option`.

    Raises:
        ConfigError: a value of another type (a bool is not a number, a whole number is a float),
            NaN, or a value below the minimum. ``what`` names the class in the message.
    """
    for field in dataclasses.fields(instance):
        kind = field.metadata.get("kind")
        if kind is None:
            continue
        value, minimum = getattr(instance, field.name), field.metadata["minimum"]
        if value is None and field.default is None:
            continue
        accepted = (int, float) if kind is float else kind
        fits = isinstance(value, accepted) and not (kind is not bool and isinstance(value, bool))
        unusable = isinstance(value, float) and math.isnan(value)
        if not fits or unusable or (minimum is not None and value < minimum):
            raise ConfigError(
                f"option {field.name!r} of {what} is {value!r} ({type(value).__name__}); expected "
                f"{_expected(kind, minimum)}"
            )


def _expected(kind: type, minimum: float | None) -> str:
    noun = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
    return noun if minimum is None else f"{noun} of at least {minimum:g}"


def _describe_options(cls: type, supplied: frozenset[str]) -> list[str]:
    fields = {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    lines = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in supplied:
            continue
        metadata = fields[parameter.name].metadata if parameter.name in fields else {}
        notes = [_expected(metadata["kind"], metadata["minimum"])] if metadata.get("kind") else []
        if parameter.default is parameter.empty:
            notes.append("required")
        elif parameter.default is not None:
            notes.append(f"default {_plain(parameter.default)}")
        text = f"{parameter.name} ({', '.join(notes)})" if notes else parameter.name
        lines.append(f"{text}: {metadata['help']}" if metadata.get("help") else text)
    return lines


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else repr(value)


def _advice(name: str, known: Iterable[str]) -> str:
    candidates = list(known)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.4)
    listing = f"known: {', '.join(candidates)}"
    return f"did you mean {near[0]!r}? ({listing})" if near else listing


def _origin(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
