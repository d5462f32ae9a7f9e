"""A policy as a command line or a plan names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from echostream import policy
from echostream.config_mapping import parse_options
from echostream.errors import ConfigError


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
