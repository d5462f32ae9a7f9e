"""The command, from options to JSON, on encoders that take no time."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from echostream.config import SystemConfig, save_config
from eval.bench import __main__ as bench
from eval.bench import cases, limits
from tests.small_system import CONFORMER, ENCODER


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(limits, "_SIZES", (64,))
    monkeypatch.setattr(cases, "OFFLINE_S", 1)
    monkeypatch.setattr(bench, "QUICK_POSITIONS", (2, 4))
    monkeypatch.setattr(bench, "CHUNKS", (160, 320))
    monkeypatch.setattr(bench, "FUTURES", (None, 0))
    monkeypatch.setattr(bench, "last_cache_bytes", lambda: 2**20)
    paths = {}
    for name, encoder in (("encoder", ENCODER), ("baseline", CONFORMER)):
        path = tmp_path / f"{name}.yaml"
        save_config(SystemConfig(encoder=encoder, asr_vocab_size=32, st_vocab_size=32), path)
        paths[name] = str(path)
    return paths


def run(configs: dict[str, str], output: Path, *options: str) -> dict[str, Any]:
    command = ["--config", configs["encoder"], "--baseline", configs["baseline"], *options]
    assert bench.main([*command, "--output", str(output)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def test_the_short_form_writes_the_summary(
    configs: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "QUICK_ROUNDS", 3)
    found = run(configs, tmp_path / "o" / "x.json", "--quick", "--backends", "torch")
    summary, settings = found["summary"], found["settings"]
    assert summary["best_float32_over_bound"] > 0
    assert summary["streaming_over_offline"] > 0
    assert {row["mode"] for row in settings} == {"streaming", "offline", "cached", "recompute"}
    assert all(row["rounds"] == 3 and row["wall_ms_p95"] >= row["wall_ms_p50"] for row in settings)
    assert str(found["command"]).startswith("python -m eval.bench --config")
    assert {"format", "machine", "versions", "load_average"} <= set(found)
    text = capsys.readouterr().out
    for part in ("Backends", "Latency by chunk", "CT-mask", "Memory", "best_float32_over_bound"):
        assert part in text


def test_everything_at_once(
    configs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simuleval")
    monkeypatch.setattr(bench, "AGENT_S", 2)
    # The agents have a process of their own, which only takes longer here.
    monkeypatch.setattr(bench, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    found = run(
        configs,
        tmp_path / "x.json",
        *("--rounds", "2", "--backends", "torch", "--agent"),
        *("--chunks", "320", "--positions", "2", "1800", "--threads", "1"),
        *("--streams", "1", "2", "--memory", "0.1"),
    )
    summary, settings, agents = found["summary"], found["settings"], found["agents"]
    assert {row["streams"] for row in settings} == {1, 2}
    assert None not in (
        summary["longest_position_over_shortest"],
        summary["most_streams_per_core_over_best_solo"],
        summary["agent_beside_encoder"],
        summary["heads_over_encoder"],
    )
    assert summary["agent_recompute_over_echostream"] > 0
    assert "torch" in found["memory"]
    assert [agent["name"] for agent in agents] == [
        "EchoStream, torch",
        "StreamSpeech, cached",
        "StreamSpeech, recompute",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "{baseline}"], "expected a zipformer"),
        (["--baseline", "{encoder}"], "expected a chunk-conformer"),
        (["--rounds", "0"], "number from 1 up"),
        (["--chunks", "100"], "chunk_size"),
    ],
)
def test_what_cannot_be_measured_is_said(
    configs: dict[str, str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--config", configs["encoder"], "--backends", "torch", "--quick"]
    with pytest.raises(SystemExit) as stopped:
        bench.main([*given, *(option.format(**configs) for option in options)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
