"""simulstream's processor: one model for all, and each stream as if it were alone."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import soundfile
from simulstream.server.speech_processors import build_speech_processor

from echostream.errors import ConfigError
from echostream.hosts.simulstream.processor import EchoStreamProcessor
from echostream.scoring.log import read_log
from echostream.session import Session, SystemOptions, build_translator
from tests.small_system import audio

TYPE = "echostream.hosts.simulstream.processor.EchoStreamProcessor"


@pytest.fixture
def config(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setattr(EchoStreamProcessor, "_shared", {})
    yield SimpleNamespace(
        type=TYPE, checkpoint=str(checkpoint), policy="wait-k", policy_options="k=1,stride=1"
    )


def words(config: SimpleNamespace, seed: int, **more: str) -> list[str]:
    options = SystemOptions(config.checkpoint, None, policy="wait-k",
        policy_options="k=1,stride=1", **more)  # fmt: skip
    session = Session(build_translator(options))
    return [*session.push(audio(1.9, seed), 16_000).words, *session.finish().words]


def test_streams_that_take_turns(config: SimpleNamespace) -> None:
    processors = [build_speech_processor(config) for _ in range(2)]
    assert len(EchoStreamProcessor._shared) == 1
    assert processors[0].speech_chunk_size == 0.32
    processors[1].set_target_language("es")
    processors[1].set_source_language("es-ES")
    for seeds in ((1, 2), (3, 4)):
        texts, tokens = ["", ""], [[], []]
        step = round(16_000 * processors[0].speech_chunk_size)
        for start in range(0, 30_400, step):
            for n, processor in enumerate(processors):
                output = processor.process_chunk(audio(1.9, seeds[n])[start : start + step])
                texts[n] += output.new_string
                tokens[n] += output.new_tokens
        for n, processor in enumerate(processors):
            # Its VAD goes on after this without clear().
            output = processor.end_of_stream()
            texts[n] += output.new_string
            tokens[n] += output.new_tokens
        expected = [words(config, seeds[0]), words(config, seeds[1], task="asr")]
        assert tokens == expected and all(tokens)
        assert texts == [processors[0].tokens_to_string(each) for each in expected]


def test_other_languages_are_refused_and_forgotten(config: SimpleNamespace) -> None:
    processor = build_speech_processor(config)
    with pytest.raises(ConfigError, match="'it'"):
        processor.set_target_language("it")
    processor.clear()
    processor.set_source_language("es")
    config.polcy = "ctc"
    with pytest.raises(ConfigError, match="did you mean 'policy'"):
        build_speech_processor(config)


def test_omnisteval_reads_its_log(
    config: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pytest.importorskip("omnisteval.data")
    # simulstream resamples with it, which 16 kHz do not need.
    monkeypatch.setitem(sys.modules, "librosa", ModuleType("librosa"))
    from simulstream.inference import run_inference
    from simulstream.metrics.logger import METRICS_LOGGER, setup_metrics_logger

    wavs = [str(tmp_path / f"{seed}.wav") for seed in (1, 2)]
    for seed, wav in enumerate(wavs, 1):
        soundfile.write(wav, audio(1.9, seed), 16_000, "PCM_16")
    log = tmp_path / "metrics.jsonl"
    monkeypatch.setattr(METRICS_LOGGER, "handlers", [])
    monkeypatch.setattr(METRICS_LOGGER, "level", 20)
    setup_metrics_logger(SimpleNamespace(enabled=True, filename=str(log)))
    run_inference(build_speech_processor(config), wavs)
    METRICS_LOGGER.handlers[0].close()

    (tmp_path / "eval.yaml").write_text("detokenizer_type: simuleval\nlatency_unit: word\n")
    theirs = data.load_hypothesis_simulstream(
        str(log), str(tmp_path / "eval.yaml"), False, ["1", "2"]
    )
    ours = read_log(log).instances
    assert len(ours) == len(theirs) == 2
    for instance, found in zip(ours, theirs, strict=True):
        assert len(found) > 3
        assert [word.text for word in found] == instance.prediction.split()
        assert [word.emission_cu for word in found] == pytest.approx(instance.delays)
