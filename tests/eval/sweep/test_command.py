"""The grid: every point once, the right folder each, and what is wrong said before the work."""

import json
from pathlib import Path
from typing import Any

import pytest

from echostream.config import SystemConfig, save_config
from echostream.errors import ConfigError
from echostream.session.listener import Listener
from eval.sweep.__main__ import main
from eval.sweep.system import PolicySpec, parse_policy
from tests.eval.sweep.conftest import Corpus
from tests.small_system import ENCODER


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("ctc", "ctc", None),
        ("wait-k:k=3,stride=2", "wait-k", "k=3,stride=2"),
        (" wait-k: k=3 ", "wait-k", " k=3"),
        ("my.module:Class", "my.module:Class", None),
        ("my.module:Class:k=3", "my.module:Class", "k=3"),
        ("my.module.Class:path=a:b=c", "my.module.Class", "path=a:b=c"),
    ],
)
def test_policies_are_named_with_their_options(text: str, name: str, options: str | None) -> None:
    assert parse_policy(text) == PolicySpec(name, options)


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="NAME"):
        parse_policy(" ")


def arguments(checkpoint: Path, corpus: Corpus, output: Path, *more: str) -> list[str]:
    return [
        *("--source", str(corpus.wav_list), "--target", str(corpus.references)),
        *("--output", str(output), "--jobs", "1", "--system", str(checkpoint), *more),
    ]


def test_a_grid_is_encoded_once_for_each_chunk_and_segment(
    checkpoint: Path,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, heard = Listener.step, {"steps": 0}

    def counted(self: Listener, *args: Any, **kwargs: Any) -> Any:
        heard["steps"] += 1
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Listener, "step", counted)
    command = arguments(checkpoint, corpus, tmp_path, "--chunk-ms", "160", "320")
    command += ["--policies", "wait-k:k=1", "wait-k:k=3", "offline", "wait-k:k=1"]
    assert main(command) == 0
    # 2.3, 2.0, 0.15, 1.6 and 0.002 s in segments as long as the chunk.
    assert heard["steps"] == (15 + 13 + 1 + 10 + 1) + (8 + 7 + 1 + 5 + 1)
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in table[1:7]] == [
        [name, chunk, chunk]
        for chunk in ("160", "320")
        for name in ("wait-k:k=1", "wait-k:k=3", "offline")
    ]
    assert "6 runs of 6 s of audio" in table[7]
    details = json.loads((tmp_path / "sweep.json").read_text())["rows"]
    for row, line in zip(details, table[1:], strict=False):
        scores = json.loads((Path(row["folder"]) / "scores.json").read_text())["scores"]
        assert row["scores"] == scores
        assert line.split()[3:] == [f"{scores[n]:.2f}" for n in ("BLEU", "LAAL", "LAAL_CA")]
        assert scores["LAAL_CA"] > scores["LAAL"]
        run = json.loads((Path(row["folder"]) / "scores.json").read_text())
        assert f"seg:{row['segment_ms']}ms" in run["signatures"]["LAAL"]
    by_name = {Path(row["folder"]).name: row["scores"]["LAAL"] for row in details}
    assert by_name["chunk320-segment320-wait-k_k=1"] < by_name["chunk320-segment320-wait-k_k=3"]
    assert by_name["chunk320-segment320-wait-k_k=3"] < by_name["chunk320-segment320-offline"]

    assert main([*command, "--policies", "ctc"]) == 0
    assert heard["steps"] == 62, "what was encoded is used for another policy"
    assert main([*command, "--policies", "offline", "--segment-ms", "320"]) == 0
    assert heard["steps"] == 62 + 22, "chunk 160 with segment 320 is new, 320 with 320 is not"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--policies", "ctc", "waitk"], "wait-k"),
        (["--policies", "wait-k:kk=3"], "'k'"),
        (["--chunk-ms", "320", "100"], "multiple of 160"),
        (["--segment-ms", "320", "0"], "0 ms"),
        (["--jobs", "0"], "jobs is 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_the_work(
    more: list[str],
    message: str,
    checkpoint: Path,
    corpus: Corpus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    assert main(arguments(checkpoint, corpus, output, *more)) == 1
    said = capsys.readouterr()
    assert said.err.startswith("sweep: error: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not output.exists()


def test_random_weights_need_the_forced_writer(
    corpus: Corpus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    yaml = tmp_path / "system.yaml"
    save_config(SystemConfig(asr_vocab_size=9, st_vocab_size=9, encoder=ENCODER), yaml)
    system = Path(f"@random_weights={yaml}")
    command = arguments(system, corpus, tmp_path / "out", "--policies", "wait-k:k=2")
    assert main(command) == 1
    assert "random_weights needs --forced:" in capsys.readouterr().err
    assert main([*command, "--forced"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[:4] == ["wait-k:k=2", "320", "320", "-"]
