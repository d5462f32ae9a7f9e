"""The file that says what is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.errors import ConfigError
from eval.compare.plan import load_plan

SHIPPED = Path(__file__).parents[3] / "configs" / "compare.yaml"


def test_shipped_plan_makes_options() -> None:
    plan = load_plan(SHIPPED)
    for system in plan.systems:
        options = system.options(320)
        assert Path(str(options.checkpoint or options.random_weights)).exists()
    assert {system.encoder_mode for system in plan.systems} == {None, "cached", "recompute"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policies: [ctc]", "names no systems"),
        ("systems: []", "names that differ"),
        ("systems: [{name: a, label: A}]", "exactly one"),
        ("systems: [{name: a, label: A, checkpoint: x, random_weights: y}]", "exactly one"),
        (
            "systems: [{name: a, label: A, checkpoint: x}, {name: a, label: B, checkpoint: y}]",
            "names that differ",
        ),
        ("systems: [{name: a, label: A, checkpoint: x}]\nsegment_ms: [100]", "160"),
        ("systems: [{name: a, label: A, checkpoint: x}]\nsegment_ms: []", "empty"),
        ("systems: [{name: a, label: A, checkpoint: x}]\npolicies: [ctc:k]", "name=value"),
        ("systems: [{name: a, label: A, checkpoint: x}]\nrepeats: 0", "repeats is 0"),
        ("systems: [{name: a, labell: A, checkpoint: x}]", "did you mean 'label'"),
        ("systems: {", "not valid YAML"),
    ],
)
def test_mistakes_are_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_plan(path)


def test_missing_plan(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_plan(tmp_path / "none.yaml")


def test_a_policy_from_outside_the_package(tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    wanted = ("my.module:Class", "my.module:Class:k=3,name=a:b")
    path.write_text(
        "systems: [{name: a, label: A, checkpoint: x, output_unit: char}]\n"
        f"policies: ['{wanted[0]}', '{wanted[1]}']\n"
    )
    plan = load_plan(path)
    assert plan.policies == wanted
    assert plan.systems[0].options(320).output_unit == "char"
