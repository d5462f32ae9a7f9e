from pathlib import Path

import pytest

from echostream import policy
from echostream.errors import ConfigError
from echostream.policy import Decision, PolicyContext, needs_encoder_history

from .policy_contexts import context, decide


def test_built_in_policies() -> None:
    assert set(policy.names()) >= {"wait-k", "ctc", "local-agreement", "offline", "stub"}
    assert policy.create("wait-k", k=2, stride=3) == policy.WaitK(k=2, stride=3)
    assert policy.create("ctc") == policy.CtcGuided(stride=1, lagging=0)


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (policy.WaitK(k=9), None),
        (policy.CtcGuided(), [3, 4]),
        (policy.LocalAgreement(), [[0, ["x"]]]),
        (policy.create("offline"), None),
        (policy.AlignAtt(frames=200), None),
    ],
)
def test_everything_is_written_at_the_end(made: policy.Policy, state: object) -> None:
    end = context(words=("a", "b"), tentative=("c",), finished=True, state=state)
    assert decide(made, end).write == 3
    assert decide(made, context(finished=True)).write == 0


def test_stub_writes_what_is_final() -> None:
    assert decide(policy.create("stub"), context(words=("a", "b"), tentative=("c",))).write == 2
    assert decide(policy.create("stub"), context(tentative=("c",))).write == 0


def test_encoder_history_is_asked_for_by_the_class() -> None:
    class Curious:
        needs_encoder_history = True

        def decide(self, context: PolicyContext) -> Decision:
            return Decision.read()

    assert needs_encoder_history(Curious())
    assert not needs_encoder_history(policy.create("stub"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wait_k", {}, "unknown policy 'wait_k'; did you mean 'wait-k'"),
        ("wait-k", {"strid": 2}, "no option 'strid'; did you mean 'stride'"),
        ("ctc", {"k": 2}, "policy 'ctc' has no option 'k'; known: stride, lagging"),
        ("offline", {"k": 2}, "no option 'k'; it takes no options"),
        ("wait-k", {"k": 0}, r"'k' of policy 'wait-k' is 0 \(int\); expected .* at least 1"),
        ("wait-k", {"stride": -1}, "'stride'.* is -1"),
        ("wait-k", {"k": 2.0}, r"'k'.* is 2.0 \(float\); expected a whole number"),
        ("wait-k", {"k": "3"}, r"'k'.* is '3' \(str\)"),
        ("wait-k", {"k": True}, r"'k'.* is True \(bool\)"),
        ("ctc", {"stride": 0}, "option 'stride' of policy 'ctc'"),
        ("ctc", {"lagging": -1}, "option 'lagging' of policy 'ctc'"),
        ("ctc", {"stride": None}, "option 'stride' of policy 'ctc'"),
        ("local-agreement", {"n": 0}, "option 'n' of policy 'local-agreement' is 0"),
        ("alignatt", {"frames": -1}, "option 'frames' of policy 'alignatt' is -1"),
        ("echostream.policy.policies:Stup", {}, "did you mean 'Stub'"),
        ("echostream.policy.policies:Decision", {}, "has no method 'decide'"),
    ],
)
def test_messages(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        policy.create(name, **options)


def test_a_module_that_fails_to_import_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="'needs_more'.*a_package_that_is_missing"):
        policy.create("needs_more:Policy")


def test_names_are_unique_and_plain() -> None:
    class Other:
        def decide(self, context: PolicyContext) -> Decision:
            return Decision.read()

    with pytest.raises(ConfigError, match="'stub' is already echostream.policy.policies:Stub"):
        policy.register("stub")(Other)
    assert isinstance(policy.create("stub"), policy.Stub)
    for name in ("", "a.b", "a:b", "a b"):
        with pytest.raises(ConfigError, match="cannot register a policy"):
            policy.register(name)
    with pytest.raises(ConfigError, match="no method 'decide'"):
        policy.register("empty")(type("Empty", (), {}))
    # A module that is imported twice registers its classes twice.
    assert policy.register("stub")(policy.Stub) is policy.Stub


def test_help_lists_names_and_options() -> None:
    lines = policy.describe().splitlines()
    assert (
        "    k (a whole number of at least 1, default 3): chunks read before the first word"
        in lines
    )
    for name in policy.names():
        (line,) = [text for text in lines if text.startswith(f"{name}: ")]
        assert len(line) > len(name) + 12
    assert "%" not in policy.describe()  # argparse would take it for a format


def test_decisions() -> None:
    assert Decision.read("why", state=[1]) == Decision(0, state=[1], reason="why")
    assert Decision.up_to(-3).write == 0
    with pytest.raises(ValueError, match="-1 words"):
        Decision(-1)
