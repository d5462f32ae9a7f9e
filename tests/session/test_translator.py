"""What comes out does not depend on how the audio comes in, on any backend."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from echostream.backend import CompiledEncoder, installed_backends
from echostream.config import PolicyConfig
from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.model.checkpoint import load_config_json, save_config_json
from echostream.policy import Decision, PolicyContext
from echostream.policy.policies import WaitK
from echostream.session import SystemOptions, Translator, TranslatorState, Turn, build_translator
from echostream.session.saved_stream import restore_stream, save_stream
from tests.small_system import audio, make_baseline

POLICIES = {
    "ctc": None,
    "wait-k": "k=2,stride=2",
    "local-agreement": "n=2",
    "offline": None,
    "stub": None,
}


def run(
    translator: Translator,
    samples: np.ndarray,
    cuts: list[int],
    *,
    rate: int = SAMPLE_RATE,
    reference: str | None = None,
) -> tuple[list[Turn], TranslatorState]:
    """Push ``samples`` cut at ``cuts``; the last piece is final."""
    state = translator.init_state(reference)
    turns: list[Turn] = []
    edges = [0, *sorted(cuts), len(samples)]
    for number, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True), start=1):
        step, state = translator.step(
            samples[start:end], rate, state, is_final=number == len(edges) - 1
        )
        turns.extend(step.turns)
    return turns, state


def segments(samples: np.ndarray, milliseconds: int, rate: int = SAMPLE_RATE) -> list[int]:
    size = milliseconds * rate // 1000
    return list(range(size, len(samples), size))


def said(turns: list[Turn]) -> list[str]:
    return [word for turn in turns for word in turn.words]


@pytest.mark.parametrize(
    ("given", "transcript", "translation"),
    [
        ({}, (4, 2), (5, 2)),
        ({"policy_options": "k=6"}, (6, 2), (6, 2)),
        ({"policy": "wait-k", "policy_options": "stride=3"}, (4, 3), (5, 3)),
    ],
)
def test_a_translation_may_have_other_options(
    checkpoint: Path,
    tmp_path: Path,
    given: dict[str, str],
    transcript: tuple[int, int],
    translation: tuple[int, int],
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "own"))
    policy = PolicyConfig("wait-k", {"k": 4, "stride": 2}, {"k": 5})
    save_config_json(dataclasses.replace(load_config_json(folder), policy=policy), folder)

    def waits(**options: str) -> tuple[int, int]:
        translator = build_translator(SystemOptions(checkpoint=str(folder), **options))
        found = translator.writer.policy
        assert isinstance(found, WaitK)
        return found.k, found.stride

    assert waits(task="asr", **given) == transcript
    assert waits(task="s2tt", **given) == translation


@pytest.mark.fault("F11", "F18")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("task", ["s2tt", "asr"])
def test_segment_size_changes_nothing(translate, policy: str, task: str) -> None:
    translator = translate(policy=policy, policy_options=POLICIES[policy], task=task)
    samples = audio(3.3, seed=1)
    whole, state = run(translator, samples, [])
    assert len(said(whole)) > 3
    for size in (10, 97, 320, 5000) if policy == "ctc" else (97, 5000):
        cut, cut_state = run(translator, samples, segments(samples, size))
        assert cut == whole, f"segments of {size} ms"
        for (name, a), (_, b) in zip(
            cut_state.listener.encoder.named_tensors(),
            state.listener.encoder.named_tensors(),
            strict=True,
        ):
            if not name.startswith(("segment_id", "pending")):
                assert torch.equal(a, b), f"{name}, segments of {size} ms"


@pytest.mark.parametrize("decoder", ["greedy", "prefix-beam"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_ends_with_as_many_words_as_offline(translate, policy, decoder) -> None:
    """Words are neither lost nor said twice, whenever they are written."""
    samples = audio(4.0, seed=2)
    offline = said(run(translate(policy="offline", decoder=decoder), samples, [])[0])
    options = POLICIES[policy]
    turns, _ = run(translate(policy=policy, policy_options=options, decoder=decoder), samples, [])
    if policy == "local-agreement" and decoder == "prefix-beam":
        # It may write words that the search revises later; their number is kept.
        assert len(said(turns)) == len(offline)
    else:
        assert said(turns) == offline


def test_forced_writer_keeps_the_schedule(translate) -> None:
    translator = translate(policy="wait-k", policy_options="k=3,stride=2")
    turns, state = run(translator, audio(3.2), [], reference="a b c d e f g h i j")
    # Ten chunks of 320 ms: two words after chunk 3, 5, 7, 9; the rest at the end.
    assert [len(turn.words) for turn in turns] == [0, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2]
    assert said(turns) == list("abcdefghij")
    assert [turn.audio_ms for turn in turns] == [*range(320, 3201, 320), 3200]
    assert state.writer.num_chunks == 10


@pytest.mark.parametrize("task", ["s2tt", "asr"])
def test_forced_writer_does_not_keep_what_the_search_finds(translate, task: str) -> None:
    translator = translate(policy="offline", task=task)
    samples = audio(4.0, seed=2)
    free, kept = translator.init_state(), translator.init_state("a b c")
    _, free = translator.step(samples, SAMPLE_RATE, free, is_final=False)
    _, kept = translator.step(samples, SAMPLE_RATE, kept, is_final=False)
    assert len(free.writer.generator.hypotheses[-1].words) > 3
    kept_words, free_words = (s.writer.generator.hypotheses[-1] for s in (kept, free))
    assert kept_words.words == ()
    assert kept_words.num_tokens == free_words.num_tokens
    step, _ = translator.step([], None, kept, is_final=True)
    assert step.words == ("a", "b", "c")


@pytest.mark.fault("F10")
@pytest.mark.parametrize("length", [0, 1, 159, 160, 399, 5119, 5120])
def test_short_audio_ends_in_one_turn_without_error(translate, length: int) -> None:
    turns, state = run(translate(policy="ctc"), audio(1.0)[:length], [])
    assert state.finished
    assert state.writer.num_frames == length // 320
    assert turns[-1].reason == "source finished"


class SeesHistory:
    """Gives the sum of the frames it is shown as its reason."""

    needs_encoder_history = True

    def decide(self, context: PolicyContext) -> Decision:
        assert len(context.encoder_frames) == context.num_encoder_frames
        return Decision.read(str(float(context.encoder_frames.sum())))


class SeesChunk(SeesHistory):
    needs_encoder_history = False

    def decide(self, context: PolicyContext) -> Decision:
        assert len(context.encoder_frames) == (0 if context.source_finished else 16)
        return Decision.read(str(float(context.encoder_frames.sum())))


def test_a_policy_sees_all_frames_only_if_it_asks(translate) -> None:
    samples = audio(1.6)
    parts = [
        [float(turn.reason) for turn in run(translate(policy=policy), samples, [])[0]]
        for policy in (f"{__name__}:SeesChunk", f"{__name__}:SeesHistory")
    ]
    chunks, totals = parts
    assert totals[:-1] == pytest.approx(np.cumsum(chunks[:-1]), rel=1e-4, abs=1e-3)
    assert totals[-1] == totals[-2]
    assert len(set(chunks[:-1])) == 5


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
    encoder = translate(backend="auto").listener.encoder
    assert isinstance(encoder, CompiledEncoder) == bool(COMPILED)


@pytest.mark.fault("F33")
def test_wrong_choices_say_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="torch"):
        SystemOptions(backend="tensorrt")
    with pytest.raises(ConfigError, match="float32"):
        SystemOptions(precision="fp8")
    options = {"random_weights": make_baseline(tmp_path)}
    with pytest.raises(ConfigError, match="expected --backend torch"):
        build_translator(SystemOptions(**options, backend="openvino"))  # type: ignore[arg-type]
    assert build_translator(SystemOptions(**options, backend="auto"))  # type: ignore[arg-type]
