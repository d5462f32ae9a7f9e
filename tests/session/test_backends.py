"""The agent on compiled forms of its encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.backend import CompiledEncoder, installed_backends
from echostream.config import ChunkConformerConfig, SystemConfig, save_config
from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.session import SystemOptions, build_translator
from echostream.session.saved_stream import restore_stream, save_stream
from tests.session.test_translator import run, said, segments
from tests.small_system import audio

COMPILED = [name for name in installed_backends() if name != "torch"]


@pytest.mark.parametrize("backend", COMPILED)
def test_words_are_those_of_torch(translate, backend: str) -> None:
    samples = audio(3.0, seed=2)
    expected, _ = run(translate(), samples, [])
    translator = translate(backend=backend)
    for size in (100, 320, 5000):
        turns, _ = run(translator, samples, segments(samples, size))
        assert said(turns) == said(expected)


@pytest.mark.fault("F39")
@pytest.mark.parametrize("backend", COMPILED)
def test_streams_move_between_backends(translate, backend: str) -> None:
    samples = audio(3.0, seed=2)
    here, there = translate(), translate(backend=backend)
    whole, _ = run(here, samples, [])
    first, state = here.step(samples[:20_000], SAMPLE_RATE, here.init_state(), is_final=False)
    moved = restore_stream(there, save_stream(here, state))
    rest, _ = there.step(samples[20_000:], SAMPLE_RATE, moved, is_final=True)
    assert [*first.words, *rest.words] == said(whole)


def test_auto_is_a_compiled_form_where_there_is_one(translate) -> None:
    encoder = translate(backend="auto").listener._encoder
    assert isinstance(encoder, CompiledEncoder) == bool(COMPILED)


@pytest.mark.fault("F33")
def test_wrong_choices_say_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="torch"):
        SystemOptions(backend="tensorrt")
    with pytest.raises(ConfigError, match="float32"):
        SystemOptions(precision="fp8")
    encoder = ChunkConformerConfig(
        embed_dim=16, ffn_dim=32, num_layers=1, num_heads=2, conv_channels=16, conv_kernel=7
    )
    save_config(
        SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=encoder), tmp_path / "small.yaml"
    )
    options = {"random_weights": str(tmp_path / "small.yaml")}
    with pytest.raises(ConfigError, match="expected --backend torch"):
        build_translator(SystemOptions(**options, backend="openvino"))  # type: ignore[arg-type]
    assert build_translator(SystemOptions(**options, backend="auto"))  # type: ignore[arg-type]
