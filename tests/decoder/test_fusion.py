"""Prefix beam search with a language model: against all labellings, against the search that tries
everything, over any cuts, and in the agent."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.codec import decode, encode
from echostream.decoder import NgramModel, PrefixBeamCtc
from echostream.errors import ConfigError
from echostream.training.ngram_estimation import estimate

from .ctc_oracles import labelling_probabilities, random_log_probs
from .test_prefix_beam import FOR_EVER, WIDE, live_prefixes
from .test_search_is_exact import assert_same

UNITS = 6
MODELS = [
    estimate(
        [[(i * i + j * seed) % UNITS for j in range(i % 7)] for i in range(30)],
        order=order,
        vocab_size=UNITS,
    )
    for order, seed in ((1, 1), (2, 3), (4, 5))
]


def language_model_score(model: NgramModel, labels: tuple[int, ...]) -> float:
    """Logarithm of the probability of a whole labelling, from the start of a text."""
    padded = (model.start, *labels)
    return sum(
        float(model.log_probs(padded[: i + 1])[unit])
        if model.order > 1
        else float(model.log_probs(())[unit])
        for i, unit in enumerate(labels)
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"order{m.order}")
@pytest.mark.parametrize(("weight", "bonus"), [(0.5, 0.0), (1.0, 1.5), (0.7, -0.5)])
def test_a_wide_beam_gives_the_score_of_every_labelling(
    model: NgramModel, weight: float, bonus: float
) -> None:
    log_probs = random_log_probs(3, 4, UNITS + 1)
    decoder = PrefixBeamCtc(
        blank=UNITS,
        beam_size=WIDE,
        prune_log_prob=-math.inf,
        hold_frames=FOR_EVER,
        lm_weight=weight,
        unit_bonus=bonus,
        language_model=model,
    )
    _, state = decoder.step(log_probs, decoder.init_state())
    wanted = {
        labels: math.log(p) + weight * language_model_score(model, labels) + bonus * len(labels)
        for labels, p in labelling_probabilities(log_probs, UNITS).items()
    }
    found = live_prefixes(state, ())
    assert set(found) == set(wanted)
    for labels, score in wanted.items():
        assert found[labels] == pytest.approx(score, abs=1e-5)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 100_000),
    frames=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    model=st.sampled_from(MODELS),
    weight=st.sampled_from([0.3, 1.0, 2.0]),
    bonus=st.sampled_from([-1.0, 0.0, 2.0]),
    beam_size=st.integers(1, 9),
    prune=st.sampled_from([-math.inf, -8.0, -3.0, -0.5, 0.0]),
    hold_frames=st.sampled_from([1, 3, 32]),
    sharpness=st.sampled_from([0.1, 1.0, 3.0, 8.0]),
)
def test_what_is_left_out_changes_nothing(
    seed: int,
    frames: int,
    cuts: list[int],
    model: NgramModel,
    weight: float,
    bonus: float,
    beam_size: int,
    prune: float,
    hold_frames: int,
    sharpness: float,
) -> None:
    log_probs = random_log_probs(seed, frames, UNITS + 1, sharpness)
    log_probs[::2, UNITS] += 4.0
    log_probs = log_probs.log_softmax(dim=1)
    edges = [0, *sorted(min(cut, frames) for cut in cuts), frames]
    assert_same(
        [log_probs[a:b] for a, b in itertools.pairwise(edges)],
        blank=UNITS,
        beam_size=beam_size,
        prune_log_prob=prune,
        hold_frames=hold_frames,
        lm_weight=weight,
        unit_bonus=bonus,
        language_model=model,
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    hold_frames=st.sampled_from([2, 8, 32]),
)
def test_any_cut_gives_the_same_state_to_the_bit(
    seed: int, cuts: list[int], hold_frames: int
) -> None:
    log_probs = random_log_probs(seed, 60, UNITS + 1, 3.0)
    decoder = PrefixBeamCtc(
        blank=UNITS,
        hold_frames=hold_frames,
        lm_weight=0.8,
        unit_bonus=1.0,
        language_model=MODELS[2],
    )
    whole, expected = decoder.step(log_probs, decoder.init_state())
    state, tokens = decoder.init_state(), []
    edges = [0, *sorted(cuts), 60]
    for a, b in itertools.pairwise(edges):
        output, state = decoder.step(log_probs[a:b], state)
        # Through JSON, as a saved stream goes.
        state = decode(encode(state, "state"), "state")
        tokens += output.stable
    assert (tuple(tokens), state) == (whole.stable, expected)
    assert len(state.history) <= MODELS[2].order - 1


def test_the_language_model_decides_between_likely_readings() -> None:
    # Units 0 and 1 sound alike; after 2 the texts have only 1.
    model = estimate([[2, 1]] * 20, order=2, vocab_size=3)
    frames = random_log_probs(0, 3, 4, 0.0).exp()
    frames[0], frames[1], frames[2] = 0.01, 0.01, 0.01
    frames[0, 2] = frames[1, 3] = 0.97
    frames[2, 0], frames[2, 1] = 0.55, 0.43
    log_probs = frames.log()

    def said(**options: object) -> list[int]:
        decoder = PrefixBeamCtc(blank=3, **options)  # type: ignore[arg-type]
        output, state = decoder.step(log_probs, decoder.init_state())
        final, _ = decoder.flush(state)
        return [token.id for token in (*output.stable, *final.stable)]

    assert said() == [2, 0]
    assert said(language_model=model) == [2, 0]  # weight 0
    assert said(language_model=model, lm_weight=1.0, unit_bonus=1.0) == [2, 1]


def test_a_weight_without_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="language-model"):
        PrefixBeamCtc(blank=3, lm_weight=0.5)
