"""What is evaluated: a model with its chunking, and the decoders and policies put behind it."""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from echostream import policy
from echostream.config_mapping import parse_options
from echostream.encoder.state import settings_of
from echostream.errors import CheckpointError, ConfigError, DataError, EchoStreamError
from echostream.model import SpeechModel
from echostream.session import SystemOptions, build
from echostream.session.costs import DEFAULT_CLOCK, Clock
from echostream.session.listener import Listener
from echostream.session.options import read_options
from echostream.session.writer import Writer
from echostream.whole_file import sha256_of
from eval.sweep.kept import ALL_CODE, code_digest, plugin_digest


@dataclass(frozen=True)
class PolicySpec:
    """Name and options, the latter as ``key=value,...``."""

    name: str
    options: str | None

    def __str__(self) -> str:
        return self.name if self.options is None else f"{self.name}:{self.options}"


def parse_policy(text: str) -> PolicySpec:
    """``name`` or ``name:key=value,...``; the name may be a ``package.module:Class``.

    Raises:
        ConfigError: if there is no name, or what follows it are no options.
    """
    match = re.fullmatch(r"(?P<name>.+?)(:(?P<options>\s*\w+\s*=.*))?", text.strip())
    if match is None:
        raise ConfigError("a policy is empty; expected NAME or NAME:K=V,... such as wait-k:k=3")
    spec = PolicySpec(match["name"], match["options"])
    known, _, rest = spec.name.partition(":")
    if known in policy.names():  # and so no module
        parse_options(rest, f"policy {known}")
    parse_options(spec.options, f"policy {spec.name}")
    return spec


@dataclass(frozen=True)
class NamedSystem:
    """A checkpoint and what the agent is told beside it; ``name`` stands in tables."""

    name: str
    options: SystemOptions


def parse_system(text: str) -> NamedSystem:
    """``CHECKPOINT[@OPTION=VALUE,...]``, or ``@random_weights=YAML,...``; for a parser.

    Raises ArgumentTypeError for an option that the agent does not have.
    """
    known = {field.name for field in fields(SystemOptions)} - {"checkpoint", "task", "chunk_ms"}
    folder, _, options = text.partition("@")
    values = {}
    # The value of an option may have several parts: an option starts where there is its name.
    starts = rf",(?=(?:{'|'.join(sorted(known))})=)"
    for part in re.split(starts, options) if options else ():
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise argparse.ArgumentTypeError(
                f"{part!r} in {text!r} is no option of the agent; expected NAME=VALUE with one of "
                f"{', '.join(sorted(known))}"
            )
        values[key] = value
    try:
        made = read_options(SystemOptions, {"checkpoint": folder or None, **values})
    except EchoStreamError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return NamedSystem(Path(folder).name + (f"@{options}" if options else ""), made)


SYSTEM_ARGUMENT: dict[str, Any] = {
    "type": parse_system,
    "metavar": "CHECKPOINT[@OPTION=VALUE,...]",
}
"""For a parser: what :func:`parse_system` takes."""


class System:
    """A model with its chunking, on the CPU; immutable.

    Args:
        options: as the agent would be given them; policy and decoder are what a replay uses where
            it is not given others.
        like: another system with the same weights, which are not loaded a second time.

    Raises:
        ConfigError: if an option is wrong, more than one thread is asked for included: recordings
            are worked on side by side instead.
        CheckpointError: if the checkpoint cannot be loaded.
    """

    def __init__(self, options: SystemOptions, like: System | None = None) -> None:
        if options.threads != 1:
            raise ConfigError(
                f"threads is {options.threads}; expected 1: costs are measured on one thread, and "
                "jobs says how many recordings are worked on at a time"
            )
        self.options = options
        self._like = like
        self.model: SpeechModel = build.build_model(options) if like is None else like.model
        # What is wrong with the options is said now and not after hours.
        self.listener()

    def with_options(self, **changes: Any) -> System:
        """The same weights with other chunking, policy or decoder."""
        return System(replace(self.options, **changes), like=self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads the weights itself.
        return _loaded, (self.options, self.fingerprint, code_digest(ALL_CODE))

    @cached_property
    def fingerprint(self) -> str:
        """Of weights and configuration."""
        return self.model.fingerprint() if self._like is None else self._like.fingerprint

    @property
    def chunk_ms(self) -> int:
        """Audio the encoder takes at once."""
        return int(self.chunking["chunk_size"]) * self.model.encoder.frame_ms

    @cached_property
    def chunking(self) -> dict[str, Any]:
        """All settings of an encoder state, those left to the configuration included."""
        state = self.listener().init_state().encoder
        return settings_of(state) | {"right_context": state.right_context}

    def listener(self, clock: Clock = DEFAULT_CLOCK) -> Listener:
        """Audio to log-probabilities, as in the agent."""
        return build.build_listener(self.options, self.model, clock)

    def writer(self, clock: Clock) -> Writer:
        """Log-probabilities to words, as in the agent."""
        generator = build.build_generator(self.options, self.model)
        return build.build_writer(self.options, self.model, generator, clock)

    def policy_settings(self) -> dict[str, Any]:
        """What decides the policy, as plain values."""
        name, options = build.policy_settings(self.options, self.model)
        return {
            "name": name,
            "options": options,
            "plugin": plugin_digest(build.build_policy(self.options, self.model)),
        }

    def decoder_settings(self) -> dict[str, Any]:
        """What decides the searches, as plain values."""
        by_head = {
            head: build.decoder_settings(self.options, self.model, head)
            for head in self.model.heads
        }
        searches = build.build_searches(self.options, self.model)
        return {
            "names": {head: name for head, (name, _) in by_head.items()},
            "options": {head: options for head, (_, options) in by_head.items()},
            "generator": (self.options.generator, self.options.generator_options),
            "unit": self.options.output_unit,
            "pause_ms": self.options.pause_ms,
            "vocabularies": _digests(build.vocabulary_paths(self.options, self.model)),
            "language_models": _digests(build.language_model_paths(self.options, self.model)),
            "plugins": {head: plugin_digest(search) for head, search in searches.items()},
        }


def _loaded(options: SystemOptions, fingerprint: str, code: str) -> System:
    if code_digest(ALL_CODE) != code:
        raise DataError(
            f"the source in {Path(__file__).parents[2]} on {platform.node()} is not that of the "
            "machine with the command; expected the same version on every machine"
        )
    system = System(options)
    if system.fingerprint != fingerprint:
        raise CheckpointError(
            f"the weights of {options.checkpoint or options.random_weights} are not those of the "
            "start; expected them to stay, and to be the same on every machine; run the command "
            "again"
        )
    return system


def _digests(paths: Mapping[str, Path]) -> list[str]:
    return [sha256_of(path) for path in paths.values()]
