"""Faults that the decoder of texts or Whisper's encoder could have and others not: a random model.

Others run for it where all encoders do (``tests/encoder``), and no encoder matters for the rest.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echostream.constants import SAMPLE_RATE
from echostream.errors import CheckpointError, StateMismatchError, StreamClosedError
from echostream.session import Session, SystemOptions, Translator, build_translator
from echostream.session.saved_stream import restore_stream, save_stream
from tests.session.hearing import hear
from tests.small_system import audio, make_whisper

from .test_hard_audio import NOISES, SPEECH


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Translator]:
    """Makes a translator, which says much, since nothing was learned."""
    folder: Path = tmp_path_factory.mktemp("whisper")
    make_whisper(folder)

    def made(**options: Any) -> Translator:
        return build_translator(
            SystemOptions(
                checkpoint=str(folder),
                source_language="es",
                policy="alignatt",
                policy_options="frames=0",
                **options,
            )
        )

    return made


@pytest.fixture(scope="module")
def whisper(make: Callable[..., Translator]) -> Translator:
    return make()


@pytest.mark.fault("F01", "F03", "F06", "F07", "F08")
@pytest.mark.parametrize("kind", [*NOISES, "clipped", "denormal", "quiet"])
def test_it_is_finite_and_says_no_more_than_can_be_said(whisper: Translator, kind: str) -> None:
    others = {"clipped": np.clip(8 * SPEECH, -4, 4), "denormal": SPEECH.astype(float) * 1e-40}
    samples = {**NOISES, **others, "quiet": 0.01 * SPEECH}[kind]
    heard = hear(whisper, samples[: 4 * SAMPLE_RATE].astype(np.float32))
    assert len(set(heard.state_bytes)) == 1
    # 16 and 12 for a second, see the generator.
    assert len(heard.words) <= 16 + 12 * 4


@pytest.mark.fault("F10", "F13")
@pytest.mark.parametrize("count", [0, 1, 399, 5000])
def test_less_than_a_chunk_is_flushed(whisper: Translator, count: int) -> None:
    heard = hear(whisper, audio(1.0)[:count], sizes=160)
    assert heard.frames.shape[0] == count // 320
    whole = hear(whisper, audio(1.0)[:count], sizes=10**6)
    assert heard.words == whole.words


@pytest.mark.fault("F11", "F12", "F18")
@pytest.mark.parametrize(("task", "seconds"), [("s2tt", 31.0), ("asr", 12.0)])
def test_cuts_change_no_decision(
    make: Callable[..., Translator], task: str, seconds: float
) -> None:
    """Nor where a beam is searched live, as in a transcript."""
    whisper, samples = make(task=task), audio(seconds, seed=5)
    whole = hear(whisper, samples, sizes=len(samples))
    ragged = hear(whisper, samples, sizes=[1, 0, 7919, 12345, 0, 33333, 20011])
    assert whole.words == ragged.words != []
    assert np.array_equal(whole.frames, ragged.frames)


@pytest.mark.fault("F14", "F36", "F39")
def test_a_stream_ends_once_and_is_restored_by_its_like_alone(
    make: Callable[..., Translator], whisper: Translator
) -> None:
    samples = audio(6.0, seed=2)
    session = Session(whisper)
    session.push(samples[:50_000], SAMPLE_RATE)
    saved = save_stream(whisper, session.state)
    rest = session.push(samples[50_000:], SAMPLE_RATE, is_final=True).words
    again = make()
    step, _ = again.step(samples[50_000:], SAMPLE_RATE, restore_stream(again, saved), is_final=True)
    assert step.words == rest
    with pytest.raises(StreamClosedError):
        session.push(samples, SAMPLE_RATE)
    with pytest.raises(StateMismatchError):
        restore_stream(make(task="asr"), saved)


@pytest.mark.fault("F34")
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("where", ["encoder.layers", "text_decoder.layers"])
def test_weights_that_give_nan_are_never_text(
    make: Callable[..., Translator], where: str, beam: int
) -> None:
    translator = make(generator_options=f"beam={beam}")
    weights = dict(translator.listener.model.named_parameters())
    name = next(n for n in weights if n.startswith(where) and n.endswith("weight"))
    with torch.no_grad():
        weights[name].view(-1)[0] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        translator.step(SPEECH, SAMPLE_RATE, translator.init_state(), is_final=True)
