"""A replay writes what SimulEval writes."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from echostream import policy
from echostream.audio import FrontEnd
from echostream.config import SystemConfig, save_config
from echostream.decoder import CtcHead, GreedyCtc, PrefixBeamCtc, WordAssembler
from echostream.decoder.ctc.generator import Hypothesis
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.session import SystemOptions
from eval.sweep import System, Work, encode, run_policy
from tests.eval.sweep.conftest import REFERENCES, Corpus
from tests.small_system import CONFORMER, ENCODER

POINTS: dict[str, tuple[int, dict[str, Any]]] = {
    "ctc": (320, {"policy": "ctc", "chunk_ms": 320}),
    "wait-k, segment below the chunk": (
        200,
        {"policy": "wait-k", "policy_options": "k=2,stride=2", "chunk_ms": 320},
    ),
    "local agreement in a beam, segment above the chunk": (
        500,
        {
            "policy": "local-agreement",
            "policy_options": "n=2",
            "decoder": "prefix-beam",
            "decoder_options": "beam_size=4",
            "chunk_ms": 160,
        },
    ),
    "transcription, causal": (
        333,
        {"policy": "stub", "task": "asr", "max_future_frames": "0", "left_context_ms": 640},
    ),
    "a policy that looks at all frames": (320, {"policy": "tests.eval.sweep.policies:FrameSigns"}),
    "offline": (320, {"policy": "offline"}),
}


def without_elapsed(folder: Path) -> bytes:
    """The log with the elapsed times blanked in the text, everything else as it stands."""
    return re.sub(rb'"elapsed": \[[^]]*\]', b"", (folder / "instances.log").read_bytes())


def without_costs(folder: Path) -> list[Any]:
    """Audio and words of each segment of each recording."""
    lines = map(json.loads, (folder / "segments.log").read_text().splitlines())
    return [
        (line["index"], [(row["audio_ms"], row["words"]) for row in line["segments"]])
        for line in lines
    ]


def replayed(
    corpus: Corpus, folder: Path, segment_ms: int, options: SystemOptions, forced: bool = False
) -> Path:
    work = Work(folder / "cache")
    encodings = encode(System(options), corpus.sources(), segment_ms=segment_ms, work=work)
    return run_policy(encodings, output=folder / "replayed", forced=forced)


@pytest.mark.parametrize("name", POINTS)
def test_logs_equal_those_of_a_live_run(
    name: str, checkpoint: Path, corpus: Corpus, live: Callable[..., Path], tmp_path: Path
) -> None:
    segment_ms, chosen = POINTS[name]
    options = SystemOptions(checkpoint=str(checkpoint), **chosen)
    real = live(tmp_path / "live", segment_ms, options)
    ours = replayed(corpus, tmp_path, segment_ms, options)
    assert without_elapsed(ours) == without_elapsed(real)
    assert without_costs(ours) == without_costs(real)
    lines = [json.loads(line) for line in (ours / "instances.log").read_text().splitlines()]
    assert [bool(line["prediction"]) for line in lines] == [True, True, True, True, False]
    assert [line["reference"] for line in lines] == list(REFERENCES)


@pytest.mark.parametrize("encoder", ["zipformer", "recompute"])
def test_forced_writer_on_random_weights(
    encoder: str, corpus: Corpus, live: Callable[..., Path], tmp_path: Path
) -> None:
    yaml, config = tmp_path / "system.yaml", ENCODER if encoder == "zipformer" else CONFORMER
    save_config(SystemConfig(asr_vocab_size=12, st_vocab_size=9, encoder=config), yaml)
    options = SystemOptions(
        random_weights=str(yaml),
        policy="wait-k",
        policy_options="k=2",
        encoder_mode=None if encoder == "zipformer" else encoder,
    )
    real = live(tmp_path / "live", 320, options, baseline=encoder != "zipformer")
    ours = replayed(corpus, tmp_path, 320, options, forced=True)
    assert without_elapsed(ours) == without_elapsed(real)
    assert without_costs(ours) == without_costs(real)
    lines = [json.loads(line) for line in (ours / "instances.log").read_text().splitlines()]
    assert [line["prediction"].split() for line in lines] == [text.split() for text in REFERENCES]


class FakeTime:
    """Passes only in what :meth:`slow` was applied to, in steps that floats hold exactly."""

    def __init__(self) -> None:
        self.seconds = 4096.0

    def __call__(self) -> float:
        return self.seconds

    def slow(self, patch: pytest.MonkeyPatch, cls: type, method: str, seconds: float) -> None:
        original = getattr(cls, method)

        def slowed(*args: Any, **kwargs: Any) -> Any:
            self.seconds += seconds
            return original(*args, **kwargs)

        patch.setattr(cls, method, slowed)


@pytest.mark.parametrize(("task", "decoder"), [("s2tt", "prefix-beam"), ("asr", "greedy")])
def test_elapsed_times_too_where_compute_is_planned(
    task: str,
    decoder: str,
    checkpoint: Path,
    corpus: Corpus,
    live: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time is what the parts say it is, for SimulEval, the live agent, and the kept costs."""
    evaluator = pytest.importorskip("simuleval.evaluator.instance")
    clock = FakeTime()
    monkeypatch.setattr(evaluator, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr("time.process_time", clock)
    slow = partial(clock.slow, monkeypatch)
    slow(FrontEnd, "step", 1 / 2)
    slow(ZipformerEncoder, "step", 1 / 4)
    slow(CtcHead, "forward", 1 / 2048)
    for search in (GreedyCtc, PrefixBeamCtc):
        slow(search, "step", 1 / 64)
        slow(search, "flush", 1 / 128)
    slow(WordAssembler, "step", 1 / 256)
    slow(Hypothesis, "step", 1 / 512)
    slow(policy.LocalAgreement, "decide", 1 / 1024)
    options = SystemOptions(
        checkpoint=str(checkpoint),
        task=task,
        policy="local-agreement",
        decoder=decoder,
        chunk_ms=160,
    )
    real = live(tmp_path / "live", 400, options)
    ours = replayed(corpus, tmp_path, 400, options)
    assert (ours / "instances.log").read_bytes() == (real / "instances.log").read_bytes()
    first = json.loads((ours / "instances.log").read_text().splitlines()[0])
    assert len(set(first["elapsed"])) > 1
    # 2.3 s in 400 ms are six segments of one front end and encoder step each.
    segments = json.loads((ours / "segments.log").read_text().splitlines()[0])["segments"]
    costs = [segment["costs_ms"] for segment in segments]
    assert [(each["front_end"], each["encoder"]) for each in costs] == [(500.0, 250.0)] * 6
    heads = 1 if task == "asr" else 2
    # Segment 3 holds chunks 6 and 7; each is searched by each head, and its words are made twice,
    # of the stable and of the tentative tokens.
    assert costs[2]["heads"] == pytest.approx(2 * heads * 1000 / 2048, abs=6e-4)
    assert costs[2]["decoder"] == pytest.approx(
        2 * (heads * (1000 / 64 + 1000 / 512) + 2 * 1000 / 256), abs=6e-4
    )
    assert costs[2]["policy"] == pytest.approx(2 * 1000 / 1024, abs=6e-4)
