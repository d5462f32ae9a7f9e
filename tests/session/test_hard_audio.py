"""What is no speech, what lasts for hours, and weights that give NaN: finite and never babble."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from echostream.backend import installed_backends, make_backend
from echostream.constants import SAMPLE_RATE
from echostream.errors import CheckpointError
from echostream.session import Translator, TranslatorState
from echostream.verification.agent_scenarios import with_encoder
from tests.session.hearing import hear, spoil
from tests.small_system import audio

BACKENDS = installed_backends()
TIME = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
SPEECH = audio(1.5, seed=11)


@pytest.fixture(scope="module", params=BACKENDS)
def translator(request: pytest.FixtureRequest, translate: Any) -> Translator:
    made: Translator = translate(policy="stub", backend=request.param)
    return made


@pytest.mark.fault("F01", "F03", "F07", "F08")
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(SAMPLE_RATE),
        np.clip(8 * SPEECH, -4, 4),
        np.sign(np.sin(2 * np.pi * 220 * TIME[:SAMPLE_RATE])),
        SPEECH.astype(np.float64) * 1e-40,
        0.01 * SPEECH,
        100 * 0.01 * SPEECH,
    ],
    ids=["silence", "clipped", "square wave", "denormal", "quiet", "loud"],
)
def test_it_is_finite_and_the_state_keeps_its_size(translator: Translator, samples: Any) -> None:
    """Everything on the way is finite, as `hear` checks."""
    heard = hear(translator, samples.astype(np.float32))
    assert len(set(heard.state_bytes)) == 1
    clipped = heard.state.listener.front_end.clipped
    assert clipped == np.count_nonzero(np.abs(samples.astype(np.float32)) > 1)


NOISES = {
    "silence": 0 * TIME,
    "white noise": np.clip(np.random.default_rng(0).normal(0, 0.1, len(TIME)), -1, 1),
    "hum": 0.3 * np.sin(2 * np.pi * 50 * TIME),
    "impulse": np.eye(1, len(TIME), len(TIME) // 2)[0],
    "one bit": np.random.default_rng(1).integers(-1, 2, len(TIME)) / 32768,
}


@pytest.mark.fault("F01", "F06")
@pytest.mark.parametrize("kind", NOISES)
def test_noise_does_not_make_it_babble(shipped: Translator, kind: str) -> None:
    heard = hear(shipped, NOISES[kind].astype(np.float32))
    assert len(heard.words) <= (0 if kind == "silence" else 5)  # in 10 s
    assert len(heard.frames) == 500


@pytest.mark.fault("F01")
def test_speech_after_silence_is_still_heard(translate: Any) -> None:
    samples = np.concatenate((np.zeros(6 * SAMPLE_RATE, np.float32), audio(2.0)))
    assert hear(translate(policy="stub"), samples).words


HOURS_100 = 100 * 3600


@pytest.mark.fault("F17")
def test_positions_are_exact_after_a_hundred_hours(translate: Any) -> None:
    """A stream moved 100 hours on says and computes the same, to the bit."""
    translator = translate(policy="stub")
    start = translator.init_state()
    _, start = translator.step(audio(4.0, seed=2), SAMPLE_RATE, start, is_final=False)
    moved = moved_on(start, seconds=HOURS_100)
    samples = audio(2.0, seed=3)
    one, other = hear(translator, samples, state=start), hear(translator, samples, state=moved)
    assert one.words == other.words != []
    assert np.array_equal(one.frames, other.frames)
    pairs = zip(other.turns, one.turns, strict=True)
    shift = {turn.audio_ms - before.audio_ms for turn, before in pairs}
    assert shift == {1000 * HOURS_100}
    counted = other.state.listener.encoder.processed_frames
    assert counted.dtype == torch.int64
    assert int(counted) == 50 * (HOURS_100 + 6)


def moved_on(state: TranslatorState, seconds: int) -> TranslatorState:
    """The stream with all its counters further on, as if it had begun so much earlier."""
    listener, writer = state.listener, state.writer
    heard, frames = seconds * SAMPLE_RATE, seconds * 50
    front_end = dataclasses.replace(
        listener.front_end,
        resampler=dataclasses.replace(
            listener.front_end.resampler,
            samples_in=listener.front_end.resampler.samples_in + heard,
            samples_out=listener.front_end.resampler.samples_out + heard,
        ),
        fbank=dataclasses.replace(
            listener.front_end.fbank,
            samples_in=listener.front_end.fbank.samples_in + heard,
            frames_out=listener.front_end.fbank.frames_out + 2 * frames,
        ),
    )
    encoder = dataclasses.replace(
        listener.encoder, processed_frames=listener.encoder.processed_frames + frames
    )
    return TranslatorState(
        dataclasses.replace(listener, front_end=front_end, encoder=encoder),
        dataclasses.replace(writer, num_frames=writer.num_frames + frames),
    )


@pytest.mark.fault("F34")
@pytest.mark.parametrize(
    ("where", "backend", "decoder"),
    [
        *(("encoder", name, "greedy") for name in BACKENDS),
        *(("head", "torch", decoder) for decoder in ("greedy", "prefix-beam")),
    ],
)
def test_weights_that_give_nan_are_never_text(
    translate: Any, where: str, backend: str, decoder: str
) -> None:
    made = translate(policy="stub", decoder=decoder)
    model = made.listener.model
    spoil(model, where)
    model.eval()
    translator = with_encoder(made, make_backend(model.encoder, backend))
    with pytest.raises(CheckpointError, match="NaN"):
        translator.step(SPEECH, SAMPLE_RATE, translator.init_state(), is_final=True)
