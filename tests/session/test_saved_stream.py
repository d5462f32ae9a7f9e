"""A stream that is stopped anywhere and goes on elsewhere."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.constants import SAMPLE_RATE
from echostream.errors import StateMismatchError
from echostream.policy import Decision, PolicyContext
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.saved_stream import restore_stream, save_stream
from tests.small_system import audio, make_baseline

ROOT = Path(__file__).parents[2]

KINDS: dict[str, dict[str, Any]] = {
    "ctc": {},
    "beam": {"decoder": "prefix-beam", "policy": "local-agreement", "policy_options": "n=2"},
    "asr": {"task": "asr", "policy": "wait-k", "policy_options": "k=2"},
    "offline": {"policy": "offline"},
}


def go_on(translator: Translator, samples: np.ndarray, state: Any, rate: int) -> Any:
    """Words, and all tensors of the encoder, after the rest of the audio in pieces of 200 ms."""
    words: list[str] = []
    size = rate // 5
    for start in range(0, max(len(samples), 1), size):
        step, state = translator.step(
            samples[start : start + size], rate, state, is_final=start + size >= len(samples)
        )
        words += step.words
    return words, dict(state.listener.encoder.named_tensors())


@pytest.mark.fault("F39")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_continuation_is_that_of_the_stream_that_was_not_saved(
    translate, kind: str, data: st.DataObject
) -> None:
    translator = translate(**KINDS[kind])
    rate = data.draw(st.sampled_from([SAMPLE_RATE, 44100]))
    samples = audio(2.0 * rate / SAMPLE_RATE, seed=data.draw(st.integers(0, 3)))
    cut = data.draw(st.integers(0, len(samples)))
    reference = data.draw(st.sampled_from([None, "these words and no others"]))
    state = translator.init_state(reference)
    _, state = translator.step(samples[:cut], rate, state, is_final=False)
    saved = save_stream(translator, state)
    restored = restore_stream(translator, saved)
    words, tensors = go_on(translator, samples[cut:], state, rate)
    words_after, tensors_after = go_on(translator, samples[cut:], restored, rate)
    assert words_after == words
    for name, tensor in tensors.items():
        assert torch.equal(tensors_after[name], tensor), name
    assert save_stream(translator, restored) == saved


NEW_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from echostream.session import SystemOptions, build_translator
from echostream.session.saved_stream import restore_stream
translator = build_translator(SystemOptions(checkpoint=sys.argv[1]))
state = restore_stream(translator, Path(sys.argv[2]).read_bytes())
step, _ = translator.step(np.load(sys.argv[3]), 16000, state, is_final=True)
print(" ".join(step.words))
"""


@pytest.mark.fault("F39")
def test_a_new_process_goes_on_in_mid_word(checkpoint: Path, tmp_path: Path, translate) -> None:
    translator = translate()
    samples = audio(3.0, seed=5)
    first, state = translator.step(
        samples[:25_000], SAMPLE_RATE, translator.init_state(), is_final=False
    )
    assert state.writer.generator.hypotheses[-1].assembler.text, "the cut is inside a word"
    (tmp_path / "stream").write_bytes(save_stream(translator, state))
    np.save(tmp_path / "rest.npy", samples[25_000:])
    result = subprocess.run(
        [sys.executable, "-c", NEW_PROCESS, checkpoint, tmp_path / "stream", tmp_path / "rest.npy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    second, _ = translator.step(samples[25_000:], SAMPLE_RATE, state, is_final=True)
    assert result.stdout.split() == list(second.words)
    assert first.words and second.words


def saved_by(translator: Translator) -> bytes:
    state = translator.init_state()
    return save_stream(translator, translator.step(audio(1.0), 16000, state, is_final=False)[1])


@pytest.mark.fault("F36")
@pytest.mark.parametrize(
    "other",
    [
        {"policy": "wait-k"},
        {"policy_options": "stride=2"},
        {"task": "asr"},
        {"decoder": "prefix-beam"},
        {"chunk_ms": 640},
        {"left_context_ms": 640},
        {"max_future_frames": "1"},
    ],
)
def test_a_translator_of_other_settings_refuses(translate, other: dict[str, Any]) -> None:
    data = saved_by(translate(policy="ctc"))
    with pytest.raises(StateMismatchError, match="fingerprint"):
        restore_stream(translate(**{"policy": "ctc", **other}), data)


@pytest.mark.fault("F36")
def test_other_weights_are_refused(checkpoint: Path, translate) -> None:
    data = saved_by(translate())
    other = build_translator(SystemOptions(checkpoint=str(checkpoint)))
    with torch.no_grad():
        other.listener.model.st_head.projection.bias[0] += 1e-6
    other.settings = {**(other.settings or {}), "model": other.listener.model.fingerprint()}
    with pytest.raises(StateMismatchError, match="fingerprint"):
        restore_stream(other, data)


class Hoarder:
    """Remembers something that cannot be saved."""

    def decide(self, context: PolicyContext) -> Decision:
        return Decision.read(state=object())


class Historian:
    """Wants all frames."""

    needs_encoder_history = True

    def decide(self, context: PolicyContext) -> Decision:
        return Decision.read(state=float(context.encoder_frames.sum()))


def test_a_memory_that_cannot_be_saved_is_named(translate) -> None:
    with pytest.raises(StateMismatchError, match="hold a object"):
        saved_by(translate(policy="tests.session.test_saved_stream:Hoarder"))


def test_all_frames_go_with_the_stream(translate) -> None:
    translator = translate(policy="tests.session.test_saved_stream:Historian")
    samples = audio(2.0)
    _, state = translator.step(samples[:20_000], 16000, translator.init_state(), is_final=False)
    restored = restore_stream(translator, save_stream(translator, state))
    ends = [
        translator.step(samples[20_000:], 16000, each, is_final=True)[1]
        for each in (state, restored)
    ]
    assert ends[0].writer.policy == ends[1].writer.policy


@pytest.mark.parametrize("mode", ["cached", "recompute"])
def test_the_baseline_goes_on_too(tmp_path: Path, mode: str) -> None:
    options = SystemOptions(random_weights=make_baseline(tmp_path), encoder_mode=mode)
    translator = build_translator(options)
    samples, words = audio(2.0), "one two three four five six"
    _, state = translator.step(
        samples[:20_000], 16000, translator.init_state(words), is_final=False
    )
    restored = restore_stream(translator, save_stream(translator, state))
    ends = [
        translator.listener.step(samples[20_000:], 16000, each.listener, is_final=True)[0].chunks
        for each in (state, restored)
    ]
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one.frames, other.frames)


class Rememberer:
    """Remembers in every way that can be saved."""

    def decide(self, context: PolicyContext) -> Decision:
        seen = context.state["seen"] if context.state else ()
        remembered = (*seen, (context.num_chunks, [1.5, "a", None, ((), [])]))
        return Decision.read(state={"seen": remembered, "empty": {}, "none": ()})


def test_the_policys_memory_comes_back_as_it_was(translate) -> None:
    translator = translate(policy="tests.session.test_saved_stream:Rememberer")
    state = translator.init_state()
    _, state = translator.step(audio(1.0), SAMPLE_RATE, state, is_final=False)
    restored = restore_stream(translator, save_stream(translator, state))
    assert len(state.writer.policy["seen"]) == 3
    assert restored.writer == state.writer
    assert repr(restored.writer.policy) == repr(state.writer.policy)


def test_parts_put_together_by_hand_have_no_name(translate) -> None:
    made = translate()
    with pytest.raises(StateMismatchError, match="build_translator"):
        saved_by(Translator(made.listener, made.writer))
