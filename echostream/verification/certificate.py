"""The certificate: what was verified, how, and what came out; as JSON and as a short text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from echostream.config import to_mapping
from echostream.model import SpeechModel
from echostream.verification.difference import Difference, badness, largest_of

FORMAT = "echostream-verification-1"


@dataclass(frozen=True)
class System:
    """Whose streams were verified."""

    name: str
    """The checkpoint's folder, or the configuration that random weights were made for."""
    trained: bool
    encoder: str
    parameters: int
    config_fingerprint: str
    """SHA-256 of the configuration."""
    weights_fingerprint: str
    """SHA-256 of all weights and the configuration without policy and decoder."""

    @classmethod
    def of(cls, name: str, model: SpeechModel, *, trained: bool) -> System:
        """Of a model."""
        config = json.dumps(to_mapping(model.config), sort_keys=True).encode()
        return cls(
            name=name,
            trained=trained,
            encoder=model.config.encoder.name,
            parameters=model.num_parameters,
            config_fingerprint=hashlib.sha256(config).hexdigest(),
            weights_fingerprint=model.fingerprint(),
        )


@dataclass(frozen=True)
class ScenarioResult:
    """One way to push audio, into one encoder."""

    backend: str
    precision: str
    scenario: str
    trials: int
    tolerance: float
    differences: tuple[Difference, ...]
    """By module, in the order of computation."""
    seconds: float
    """Wall time."""

    @property
    def worst(self) -> Difference | None:
        """The module that comes nearest to its limit, or goes farthest beyond."""
        return max(self.differences, key=badness, default=None)

    @property
    def equal(self) -> bool:
        """Whether no module differs by more than rounding, and there was something to compare."""
        return bool(self.differences) and not any(d.breaks for d in self.differences)


@dataclass(frozen=True)
class Break:
    """The first module, in the order of computation, that differs."""

    backend: str
    precision: str
    scenario: str
    difference: Difference


@dataclass(frozen=True)
class Certificate:
    """Everything."""

    system: System
    settings: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, str | int]
    results: tuple[ScenarioResult, ...]
    left_out: tuple[str, ...]
    """What was asked for or could be thought of and is not in the results, and why."""
    seconds: float
    """Wall time."""

    @property
    def equal(self) -> bool:
        """Whether every stream equals its offline run."""
        return bool(self.results) and all(result.equal for result in self.results)

    @property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """Backends and precisions, in the order in which they were verified."""
        return tuple(dict.fromkeys((r.backend, r.precision) for r in self.results))

    def results_of(self, subject: tuple[str, str]) -> tuple[ScenarioResult, ...]:
        """Of one backend and precision."""
        return tuple(r for r in self.results if (r.backend, r.precision) == subject)

    def modules_of(self, subject: tuple[str, str]) -> tuple[Difference, ...]:
        """The largest difference of each module over all scenarios, in order of computation."""
        return largest_of(result.differences for result in self.results_of(subject))

    def first_break_of(self, subject: tuple[str, str]) -> Break | None:
        """The first module that differs in any scenario, where it differs most; if any does."""
        for module in self.modules_of(subject):
            if not module.breaks:
                continue
            found = [
                Break(*subject, result.scenario, difference)
                for result in self.results_of(subject)
                for difference in result.differences
                if difference.module == module.module
            ]
            return max(found, key=lambda one: badness(one.difference))
        return None

    @property
    def first_break(self) -> Break | None:
        """That of the first backend that has one."""
        found = (self.first_break_of(subject) for subject in self.subjects)
        return next((one for one in found if one is not None), None)

    def to_json(self) -> str:
        """All of it as JSON."""
        first = self.first_break
        values = {
            "format": FORMAT,
            "equal": self.equal,
            "first_break": None if first is None else dataclasses.asdict(first),
            "system": dataclasses.asdict(self.system),
            "settings": self.settings,
            "versions": self.versions,
            "machine": self.machine,
            "left_out": self.left_out,
            "seconds": round(self.seconds, 1),
            "results": [
                {
                    **{
                        name: getattr(result, name)
                        for name in ("backend", "precision", "scenario", "trials", "tolerance")
                    },
                    "equal": result.equal,
                    "seconds": round(result.seconds, 2),
                    "modules": [dataclasses.asdict(d) for d in result.differences],
                }
                for result in self.results
            ],
        }
        return json.dumps(values, indent=1, allow_nan=False) + "\n"


_SHOWN = 12
"""Characters of a fingerprint."""


def format_certificate(certificate: Certificate) -> str:
    """What was verified, a line for each scenario, a line for each layer, and the verdict."""
    return "\n".join(_lines(certificate)) + "\n"


def _lines(certificate: Certificate) -> Iterator[str]:
    system, settings = certificate.system, certificate.settings
    kind = "" if system.trained else ", random weights"
    yield f"{system.name}: {system.encoder}, {system.parameters / 1e6:.2f}M parameters{kind}"
    yield (
        f"configuration {system.config_fingerprint[:_SHOWN]}, weights "
        f"{system.weights_fingerprint[:_SHOWN]}"
    )
    yield ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    yield ", ".join(f"{name} {value}" for name, value in certificate.machine.items())
    yield ", ".join(
        f"{name} {value}" for name, value in settings.items() if value not in ((), False)
    )
    for subject in certificate.subjects:
        yield ""
        yield from _scenarios(" ".join(subject), certificate.results_of(subject))
        yield ""
        yield from _layers(certificate.modules_of(subject))
    if certificate.left_out:
        yield ""
        yield from (f"not verified: {note}" for note in certificate.left_out)
    yield ""
    first = certificate.first_break
    compared = f"{len(certificate.results)} scenarios in {certificate.seconds:.0f} s"
    if first is None and certificate.equal:
        yield f"EQUAL: every stream equals its offline run within the tolerance; {compared}"
    elif first is None:
        yield f"NOT EQUAL: nothing was compared; {compared}"
    else:
        yield f"NOT EQUAL: {describe_break(first)}; {compared}"


def describe_break(first: Break) -> str:
    """The module, by how much, and where."""
    difference = first.difference
    what = difference.problem or (
        f"differs by {difference.largest:.2g} (values up to {difference.scale:.2g}), "
        f"{difference.share:.2g} times what is allowed"
    )
    where = "" if difference.first_frame is None else f", from its frame {difference.first_frame}"
    return (
        f"{difference.module} is the first module that breaks: {what}{where} "
        f"({first.backend} {first.precision}, {first.scenario}, trial {difference.trial})"
    )


def _scenarios(title: str, results: tuple[ScenarioResult, ...]) -> Iterator[str]:
    width = max(len(title), *(len(result.scenario) for result in results))
    yield f"{title:{width}}  trials  tolerance  of allowed  difference  values to  where"
    for result in results:
        worst = result.worst or Difference("nothing")
        yield (
            f"{result.scenario:{width}}  {result.trials:6d}  {result.tolerance:9.0e}  "
            f"{_numbers(worst)}  {_place(worst)}{'' if result.equal else '  NOT EQUAL'}"
        )


def _layers(differences: tuple[Difference, ...]) -> Iterator[str]:
    """One line for each layer: its module that comes nearest to its limit."""
    grouped: dict[str, list[Difference]] = {}
    for difference in differences:
        grouped.setdefault(layer_of(difference.module), []).append(difference)
    width = max(map(len, ("layer by layer", *grouped)))
    yield f"{'layer by layer':{width}}  {'frames':>8}  of allowed  difference  values to  where"
    for layer, parts in grouped.items():
        worst = max(parts, key=badness)
        part = worst.module.removeprefix(layer).lstrip(".")
        broken = "  NOT EQUAL" if worst.breaks else ""
        yield f"{layer:{width}}  {worst.frames:8d}  {_numbers(worst)}  {part}{broken}".rstrip()


def _place(worst: Difference) -> str:
    is_exact = worst.problem is None and worst.share == 0
    return "no bit differs" if is_exact else worst.module


def layer_of(module: str) -> str:
    """``stacks.1.layers.0.norm -> stacks.1.layers.0``; all of ``state.`` is one."""
    if module.startswith("state."):
        return "state"
    parts = module.split(".")
    if "layers" in parts:
        return ".".join(parts[: parts.index("layers") + 2])
    if parts[0] == "conformer_layers":
        return ".".join(parts[:2])
    return module


def _numbers(difference: Difference) -> str:
    if difference.problem is not None:
        return f"{'-':>10}  {'-':>10}  {'-':>9}"
    return f"{difference.share:10.2g}  {difference.largest:10.1e}  {difference.scale:9.2g}"
