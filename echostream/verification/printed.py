"""The certificate as a short text."""

from __future__ import annotations

from collections.abc import Iterator

from echostream.verification.certificate import Break, Certificate, ScenarioResult
from echostream.verification.difference import Difference, badness

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
