"""Results in which every text tries to become markup, script or a table of its own."""

from typing import Any

from .synthetic import synthetic_results

ATTACKS = (
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "' onfocus='document.title=\"owned\"",
    "{{ 7 * 7 }} {% raw %}",
    "a | b \\| c ` * [x](javascript:alert(1)) & &amp; $x^2$",
    "line\u2028after\u2029and\nbreak",
    "_starts with an underscore",
)
SCHEMA_WORDS = ("format", "family", "mode", "system", "a", "b", "x", "y", "better", "unit")
"""Texts under these keys have a meaning, so they are left as they are."""


def hostile_results() -> dict[str, Any]:
    """As :func:`synthetic_results`, with an attack at the end of every other text and key."""
    results = synthetic_results(utterances=2, runs=2)
    count = 0

    def attack(value: Any, key: str) -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {name: attack(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [attack(item, key) for item in value]
        if isinstance(value, str) and key not in SCHEMA_WORDS:
            count += 1
            return f"{value} {ATTACKS[count % len(ATTACKS)]}"
        return value

    hurt: dict[str, Any] = attack(results, "")
    for kept, given in zip(hurt["systems"], results["systems"], strict=True):
        kept["name"] = given["name"]
    hurt["systems"][0]["label"] = "".join(ATTACKS)
    hurt["machine"] = {attacked: attacked for attacked in ATTACKS}
    for point in hurt["points"]:
        for attacked in ATTACKS:
            point["figures"][attacked] = dict(point["figures"]["LAAL"])
    return hurt
