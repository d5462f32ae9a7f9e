import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echostream.decoder import PrefixBeamCtc, PrefixBeamState, Token
from echostream.errors import CheckpointError, ConfigError, StreamClosedError

from .ctc_oracles import (
    Prefix,
    labelling_probabilities,
    one_hot_log_probs,
    prefix_beam_search,
    random_log_probs,
)

WIDE = 2000
FOR_EVER = 10**9
A, B, BLANK = 0, 1, 2


def decode(decoder: PrefixBeamCtc, pieces: list[torch.Tensor]) -> tuple[list[Token], list[int]]:
    """All tokens, and how many were stable after each step; checks that stable ones stay."""
    state = decoder.init_state()
    stable: list[Token] = []
    counts = []
    for piece in pieces:
        output, state = decoder.step(piece, state)
        stable.extend(output.stable)
        counts.append(len(stable))
        assert state.num_tokens == len(stable)
    final, state = decoder.flush(state)
    assert final.stable == output.tentative
    assert final.tentative == ()
    return [*stable, *final.stable], counts


def live_prefixes(state: PrefixBeamState, stable: Prefix) -> dict[Prefix, float]:
    """Log-probability of each prefix in the beam."""
    found = {}
    for row, log_blank, log_token, _, _ in state.beam:
        tokens: list[int] = []
        while state.nodes[row][0] >= 0:
            parent, token = state.nodes[row]
            tokens.append(token)
            row = parent
        both = torch.logaddexp(*torch.tensor([log_blank, log_token], dtype=torch.float64))
        found[(*stable, *tokens[::-1])] = float(both) + state.log_scale
    return found


def test_sum_over_alignments_beats_the_best_path_worked_out_by_hand() -> None:
    # Best path: blank blank, 0.36. Labelling "a": 1 - 0.36 = 0.64.
    log_probs = torch.tensor([[0.4, 0.6], [0.4, 0.6]]).log()
    decoder = PrefixBeamCtc(blank=1)
    output, state = decoder.step(log_probs, decoder.init_state())
    assert [t.id for t in output.tentative] == [0]
    prefixes = live_prefixes(state, ())
    assert prefixes[(0,)] == pytest.approx(math.log(0.64))
    assert prefixes[()] == pytest.approx(math.log(0.36))
    assert set(prefixes) == {(), (0,)}  # "aa" needs three frames


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_gives_the_probability_of_every_labelling(seed: int) -> None:
    frames, vocabulary = 5, 3
    log_probs = random_log_probs(seed, frames, vocabulary)
    expected = labelling_probabilities(log_probs, BLANK)
    decoder = PrefixBeamCtc(blank=BLANK, beam_size=WIDE, prune_log_prob=-math.inf, hold_frames=99)
    output, state = decoder.step(log_probs[:2], decoder.init_state())
    output, state = decoder.step(log_probs[2:], state)
    found = live_prefixes(state, ())
    assert {p: pytest.approx(math.log(q), abs=1e-5) for p, q in expected.items() if q} == found
    assert tuple(t.id for t in output.tentative) == max(expected, key=lambda p: expected[p])


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 100_000),
    frames=st.integers(1, 25),
    vocabulary=st.integers(2, 7),
    beam_size=st.integers(1, 5),
    prune=st.sampled_from([-math.inf, -3.0, -1.0, 0.0]),
    sharpness=st.sampled_from([0.3, 1.0, 3.0]),
)
def test_pruned_search_equals_the_dictionary_search(
    seed: int, frames: int, vocabulary: int, beam_size: int, prune: float, sharpness: float
) -> None:
    log_probs = random_log_probs(seed, frames, vocabulary, sharpness)
    blank = seed % vocabulary
    expected = prefix_beam_search(log_probs, blank, beam_size, prune)
    decoder = PrefixBeamCtc(
        blank=blank, beam_size=beam_size, prune_log_prob=prune, hold_frames=FOR_EVER
    )
    output, state = decoder.step(log_probs, decoder.init_state())
    found = live_prefixes(state, tuple(t.id for t in output.stable))
    assert found == {prefix: pytest.approx(log, abs=1e-9) for prefix, log in expected}
    best = tuple(t.id for t in (*output.stable, *output.tentative))
    assert best == expected[0][0]


def test_frames_are_those_of_the_peaks() -> None:
    # "a" could be at frame 0 and "b" at frame 1 with a small probability; neither counts.
    symbols = [BLANK, A, BLANK, B, B, BLANK, A]
    for pieces in ([one_hot_log_probs(symbols, 3)], [one_hot_log_probs([s], 3) for s in symbols]):
        tokens, _ = decode(PrefixBeamCtc(blank=BLANK), pieces)
        assert tokens == [Token(A, 1), Token(B, 3), Token(A, 6)]


def test_the_frame_is_that_of_the_most_probable_alignment() -> None:
    # Alignments of "a" (with "_" for the blank): "_ _ a" 0.5 * 0.8 = 0.4, "a a a" 0.1, "_ a a" 0.1.
    # Together 0.6, against 0.4 for "a a" ("a _ a").
    log_probs = torch.tensor([[0.5, 0.5], [0.2, 0.8], [1.0, 0.0]]).log()
    decoder = PrefixBeamCtc(blank=1)
    output, state = decoder.step(log_probs, decoder.init_state())
    assert output.stable == (Token(0, 2),)
    found = live_prefixes(state, (0,))
    assert {prefix: math.exp(log) for prefix, log in found.items()} == {
        (0,): pytest.approx(0.6),
        (0, 0): pytest.approx(0.4),
    }


def test_of_two_ends_the_more_probable_gives_the_frame() -> None:
    # "a _" 0.315; "_ a" 0.165 and "a a" 0.135 end in the token: 0.3.
    log_probs = torch.tensor([[0.45, 0.55], [0.3, 0.7]]).log()
    decoder = PrefixBeamCtc(blank=1)
    output, _ = decoder.step(log_probs, decoder.init_state())
    assert output.tentative == (Token(0, 0),)


def test_pruning_does_not_touch_what_is_within_it() -> None:
    # After two frames "a" has b = n = 0.495 (scaled: 0.5 each). In the third "a" becomes 0.441,
    # and "a c" 0.297, two thirds of it: within log(0.62). Yet p(c) is only 0.6 of p(a).
    log_probs = torch.tensor([[0.99, 0.005, 0.005], [0.5, 0.0, 0.5], [0.5, 0.3, 0.2]]).log()
    prune = math.log(0.62)
    decoder = PrefixBeamCtc(blank=2, prune_log_prob=prune, hold_frames=FOR_EVER)
    output, state = decoder.step(log_probs, decoder.init_state())
    found = live_prefixes(state, tuple(t.id for t in output.stable))
    assert set(found) == {(0,), (0, 1)}
    assert set(found) == {prefix for prefix, _ in prefix_beam_search(log_probs, 2, 8, prune)}


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 100_000),
    vocabulary=st.integers(2, 6),
    beam_size=st.integers(1, 6),
    hold_frames=st.sampled_from([1, 3, 10]),
    sharpness=st.sampled_from([0.5, 1.0, 3.0]),
)
# Here the alignment of the best prefix changes to one that is earlier than what was given out.
@example(seed=7, vocabulary=3, beam_size=3, hold_frames=3, sharpness=0.5)
@example(seed=41, vocabulary=3, beam_size=3, hold_frames=3, sharpness=0.5)
def test_nothing_stays_open_longer_than_the_hold(
    seed: int, vocabulary: int, beam_size: int, hold_frames: int, sharpness: float
) -> None:
    decoder = PrefixBeamCtc(blank=vocabulary - 1, beam_size=beam_size, hold_frames=hold_frames)
    state = decoder.init_state()
    last = 0
    for now, row in enumerate(random_log_probs(seed, 60, vocabulary, sharpness)):
        output, state = decoder.step(row[None], state)
        frames = [t.frame for t in (*output.stable, *output.tentative)]
        assert frames == sorted(frames)
        assert all(last <= frame <= now for frame in frames)
        assert all(t.frame > now - hold_frames for t in output.tentative)
        assert len(state.nodes) <= beam_size * hold_frames + 1
        last = max([last, *(t.frame for t in output.stable)])


def ambiguous_start(frames: int) -> torch.Tensor:
    """First "a" or "b", nearly even for ever; then the same certain tokens for both."""
    probs = torch.full((frames, 4), 1e-6)
    probs[0] = torch.tensor([0.51, 0.49, 1e-9, 1e-9])
    for t in range(1, frames):
        probs[t, 3 if t % 2 else 2] = 1.0
    return probs.log()


def test_lasting_ambiguity_is_settled_by_age() -> None:
    log_probs = ambiguous_start(80)
    patient = PrefixBeamCtc(blank=3, beam_size=2, hold_frames=FOR_EVER)
    output, state = patient.step(log_probs, patient.init_state())
    assert output.stable == ()
    assert len(output.tentative) == 40
    decoder = PrefixBeamCtc(blank=3, beam_size=2, hold_frames=10)
    output, state = decoder.step(log_probs[:10], decoder.init_state())
    assert (output.stable, state.num_settled) == ((), 0)
    output, state = decoder.step(log_probs[10:11], state)
    assert output.stable[0] == Token(0, 0)
    assert state.num_settled == 1
    assert len(output.stable) >= 5  # what both readings shared comes with it
    rest, state = decoder.step(log_probs[11:], state)
    tokens = (*output.stable, *rest.stable, *rest.tentative)
    assert [t.id for t in tokens] == [0] + [2] * 39


def test_scores_stay_in_range_for_ever() -> None:
    decoder = PrefixBeamCtc(blank=4, beam_size=3)
    _, state = decoder.step(random_log_probs(3, 4000, 5, 1.0), decoder.init_state())
    assert state.log_scale < -1000  # exp() of it is zero in float64
    # log b + log n of the best is 0 by the scaling
    best = torch.logaddexp(*torch.tensor(state.beam[0][1:3], dtype=torch.float64))
    assert float(best) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.fault("F40")
def test_suppressed_indices_are_never_emitted() -> None:
    decoder = PrefixBeamCtc(blank=4, suppress=(0, 2))
    tokens, _ = decode(decoder, [random_log_probs(seed, 10, 5) for seed in range(20)])
    assert len(tokens) > 20
    assert {t.id for t in tokens} <= {1, 3}


def test_a_frame_without_any_possible_symbol_counts_as_blank() -> None:
    decoder = PrefixBeamCtc(blank=BLANK, suppress=(A,))
    nothing = torch.tensor([[0.0, -math.inf, -math.inf]])
    b = one_hot_log_probs([B], 3)
    tokens, _ = decode(decoder, [b, nothing, b])
    assert [t.id for t in tokens] == [B]
    assert tokens[0].frame == 0


def test_flush() -> None:
    decoder = PrefixBeamCtc(blank=4)
    output, state = decoder.flush(decoder.init_state())
    assert output.stable == ()
    output, state = decoder.step(random_log_probs(8, 12, 5), decoder.init_state())
    final, state = decoder.flush(state)
    assert final.stable == output.tentative != ()
    again, same = decoder.flush(state)
    assert (again.stable, again.tentative, same) == ((), (), state)
    with pytest.raises(StreamClosedError):
        decoder.step(random_log_probs(8, 1, 5), state)


def test_nan_and_wrong_options_are_refused() -> None:
    decoder = PrefixBeamCtc(blank=4)
    log_probs = random_log_probs(0, 3, 5)
    log_probs[2, 0] = math.nan
    with pytest.raises(CheckpointError, match="frame 2"):
        decoder.step(log_probs, decoder.init_state())
    with pytest.raises(ConfigError, match="'beam_size'.* is 0 .*at least 1"):
        PrefixBeamCtc(blank=4, beam_size=0)
    with pytest.raises(ConfigError, match="prune_log_prob.* is 1.0; expected 0 or less"):
        PrefixBeamCtc(blank=4, prune_log_prob=1.0)
    with pytest.raises(ConfigError, match="prune_log_prob"):
        PrefixBeamCtc(blank=4, prune_log_prob=math.nan)
