"""Options as hosts write them: in YAML, as attributes, misspelt."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from simuleval.data.segments import SpeechSegment, TextSegment

from echostream.config import SystemConfig
from echostream.config_mapping import parse_options
from echostream.errors import AudioFormatError, ConfigError
from echostream.hosts.options import HostOptions, options_of
from echostream.hosts.simuleval.agent import EchoStreamAgent
from echostream.policy import create
from echostream.session import Session, SystemOptions, build_translator
from echostream.session.build import require_languages
from tests.small_system import audio


@pytest.mark.parametrize(
    "values",
    [
        {
            "policy": "wait-k",
            "policy_options": {"k": 3},
            "chunk_ms": "640",
            "record_audio": "False",
        },
        {"policy": "wait-k", "policy-options": {"k": 3}, "chunk-ms": 640.0},
    ],
)
def test_yaml_may_write_an_option_in_any_natural_way(values: dict[str, Any]) -> None:
    for given in (values, SimpleNamespace(**values)):
        system, host = options_of(given)
        assert (system.chunk_ms, host.verbose) == (640, False)
        assert create("wait-k", **parse_options(system.policy_options, "")).k == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"polcy": "wait-k"}, "did you mean 'policy'"),
        ({"chunk-m": 640}, "did you mean 'chunk_ms'"),
        ({"chunk_ms": "much"}, "--chunk-ms is 'much'; expected a whole number"),
        ({"chunk_ms": 640.5}, "--chunk-ms is 640.5; expected a whole number"),
        ({"verbose": "perhaps"}, "--verbose is 'perhaps'; expected true or false"),
        ({"checkpoint": ["a"]}, "--checkpoint is .* expected a word"),
        ({"threads": True}, "--threads is True"),
    ],
)
def test_what_is_misspelt_or_wrong_is_named(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        options_of(values)


def test_a_hosts_own_options_are_passed_over() -> None:
    own = {"source_segment_size": 320, "output": "out", "dtype": "fp32", "type": "a.b.C"}
    for values in (SimpleNamespace(**own), None):
        assert options_of(values) == (SystemOptions(), HostOptions())
    with pytest.raises(ConfigError, match="no option 'type'"):
        options_of({"type": "a.b.C"}, others=False)


def test_another_language_is_refused(checkpoint: Path) -> None:
    folder = str(checkpoint)
    for code in ("en", "en-GB", "EN_us"):
        assert build_translator(SystemOptions(checkpoint=folder, target_language=code))
    with pytest.raises(ConfigError, match="source language is 'fr', but the checkpoint's is 'es'"):
        build_translator(SystemOptions(checkpoint=folder, source_language="fr"))
    agent = EchoStreamAgent(SimpleNamespace(checkpoint=folder))
    segment = SpeechSegment(content=[0.0] * 400, sample_rate=16_000, tgt_lang="de")
    with pytest.raises(ConfigError, match="target language is 'de'"):
        agent.push(segment)


def test_a_multilingual_checkpoint_takes_its_languages() -> None:
    config = SystemConfig(source_language="multilingual", source_languages=("es", "fr"))
    require_languages(config, "fr-CA", "en")
    with pytest.raises(ConfigError, match="source language is 'de', but the checkpoint's are es, "):
        require_languages(config, "de")


def test_a_device_that_is_not_there_is_refused_at_the_start(checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="no usable GPU"):
        EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), device="cuda"))


def test_threads_hold_in_every_host_thread(checkpoint: Path) -> None:
    """Whatever the host has set, a step computes on the threads of the options."""
    session = Session(build_translator(SystemOptions(checkpoint=str(checkpoint), threads=1)))
    found = []

    def host() -> None:
        torch.set_num_threads(2)
        session.push(audio(0.5), 16_000)
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=host)
    thread.start()
    thread.join()
    assert found == [1]


class ForeignSegment:
    """A host's own class."""

    def __init__(self, content: Any, finished: bool = False) -> None:
        self.content, self.finished, self.sample_rate = content, finished, 16_000


def test_segments_of_another_hosts_class_are_heard(checkpoint: Path) -> None:
    agents = [
        EchoStreamAgent(SimpleNamespace(checkpoint=str(checkpoint), policy="offline"))
        for _ in range(2)
    ]
    samples = audio(2.0).tolist()
    kinds = (SpeechSegment(content=samples, sample_rate=16_000, finished=True),)
    expected = agents[0].pushpop(kinds[0]).content
    assert expected and agents[1].pushpop(ForeignSegment(samples, True)).content == expected
    with pytest.raises(AudioFormatError, match="a TextSegment was pushed"):
        agents[1].push(TextSegment(content="some words"))
    with pytest.raises(AudioFormatError, match="a dict was pushed"):
        agents[1].push({"content": samples})
