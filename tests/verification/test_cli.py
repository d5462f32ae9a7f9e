"""The command: what it prints, writes and returns."""

import json
from pathlib import Path
from typing import Any

import pytest

from echostream.commands.verify import main
from echostream.config import SystemConfig, save_config
from echostream.encoder import convolution
from tests.encoder.small_encoder import keep_nothing_prepared
from tests.encoder.test_planted_faults import late_cache
from tests.small_system import ENCODER

SHORT = ("--backend", "torch", "--trials", "1", "--seconds", "2")


def run(capsys: Any, *argv: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_equal_checkpoint(checkpoint: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "certificate.json"
    status, out, _ = run(capsys, checkpoint, *SHORT, "--seed", "5", "--output", output)
    assert status == 0
    assert out.splitlines()[-1].startswith("EQUAL: every stream equals its offline run")
    written = json.loads(output.read_text())
    assert (written["format"], written["equal"]) == ("echostream-verification-1", True)
    assert written["first_break"] is None
    assert written["settings"]["seed"] == 5
    assert len(written["system"]["weights_fingerprint"]) == 64
    assert written["system"]["weights_fingerprint"][:12] in out
    assert written["versions"].keys() >= {"echostream", "torch", "python"}
    assert written["machine"]["torch_threads"] == 1
    found = [module for result in written["results"] for module in result["modules"]]
    wanted = {"front_end", "stem", "memory", "encoder", "asr_head", "st_head", "words"}
    assert {module["module"] for module in found} >= wanted
    assert sum(module["frames"] for module in found if module["module"] == "words") > 4
    precisions = dict.fromkeys(result["precision"] for result in written["results"])
    assert list(precisions) == ["float64", "float32"]
    assert all(m["frames"] > 0 for r in written["results"] for m in r["modules"][:5])
    # A line for each layer.
    assert sum(line.startswith("stacks.3.layers.0 ") for line in out.splitlines()) == 2


def test_the_same_seed_gives_the_same_certificate(checkpoint: Path, tmp_path: Path, capsys) -> None:
    def modules(seed: int) -> Any:
        output = tmp_path / "certificate.json"
        only = ("--precision", "float64", "--scenario", "ragged cuts")
        assert run(capsys, checkpoint, *SHORT, *only, "--seed", seed, "--output", output)[0] == 0
        return [result["modules"] for result in json.loads(output.read_text())["results"]]

    assert modules(1) == modules(1)
    assert modules(1) != modules(2)


def test_a_broken_one(
    checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_nothing_prepared(monkeypatch)
    late_cache(convolution)(monkeypatch)
    output = tmp_path / "certificate.json"
    status, out, _ = run(
        capsys, checkpoint, *SHORT, "--scenario", "ragged cuts", "--output", output
    )
    assert status == 1
    assert out.splitlines()[-1].startswith(
        "NOT EQUAL: stacks.0.layers.0.convolution1 is the first module that breaks: differs by"
    )
    first = json.loads(output.read_text())["first_break"]
    assert first["difference"]["module"] == "stacks.0.layers.0.convolution1"
    assert first["difference"]["largest"] > 1e-3


def test_random_weights(tmp_path: Path, capsys) -> None:
    path = tmp_path / "small.yaml"
    save_config(SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=ENCODER), path)
    only = ("--precision", "float32", "--scenario", "agent: any segments")
    status, out, _ = run(capsys, "--random-weights", path, *SHORT, *only)
    assert status == 0
    assert "random weights" in out
    words = next(line for line in out.splitlines() if line.startswith("words"))
    assert int(words.split()[1]) == 40, "all words of the forced writer"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no/such/folder",), "no/such/folder"),
        (("--random-weights", "no/such.yaml"), "no/such.yaml"),
        (("x", "--random-weights", "y"), "both given"),
        (("--backend", "tpu"), "--backend is 'tpu'"),
        (("--precision", "float16"), "invalid choice"),
        (("--trials", "0"), "--trials is 0"),
        (("--seconds", "0.1"), "--seconds is 0.1"),
        (("--tolerance", "2"), "--tolerance is 2.0"),
        (("--seed", "-1"), "--seed is -1"),
        (("--scenario", "noise"), "--scenario is 'noise'"),
        (("--output", "no/such/folder/file.json"), "does not exist"),
        (("--nonsense",), "unrecognized"),
    ],
)
def test_wrong_usage_is_told_from_not_equal(argv: tuple[str, ...], message: str, capsys) -> None:
    status, _, err = run(capsys, *argv)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
