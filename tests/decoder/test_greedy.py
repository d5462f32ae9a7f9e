"""The CTC head and the greedy search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder import CtcHead, GreedyCtc, GreedyState, Token, blank_index, ctc_vocab_size
from echostream.errors import CheckpointError, ConfigError, StreamClosedError

from .ctc_oracles import collapse, one_hot_log_probs, random_log_probs

A, B, BLANK = 0, 1, 2


def run(decoder: GreedyCtc, pieces: list[torch.Tensor]) -> tuple[list[Token], GreedyState]:
    state = decoder.init_state()
    tokens: list[Token] = []
    for piece in pieces:
        output, state = decoder.step(piece, state)
        assert output.tentative == ()
        tokens.extend(output.stable)
    output, state = decoder.flush(state)
    assert output.stable == output.tentative == ()
    return tokens, state


def test_frames_are_those_of_the_first_emission() -> None:
    log_probs = one_hot_log_probs([BLANK, A, A, BLANK, A, B, B], 3)
    tokens, _ = run(GreedyCtc(blank=BLANK), [log_probs[:3], log_probs[3:5], log_probs[5:]])
    assert tokens == [Token(A, 1), Token(A, 4), Token(B, 5)]


@pytest.mark.fault("F41")
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(0, 40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_any_cut_gives_the_offline_result(seed: int, frames: int, cuts: list[int]) -> None:
    log_probs = random_log_probs(seed, frames, 4)
    decoder = GreedyCtc(blank=3)
    edges = [0, *sorted(min(c, frames) for c in cuts), frames]
    tokens, state = run(decoder, [log_probs[a:b] for a, b in itertools.pairwise(edges)])
    assert tuple(t.id for t in tokens) == collapse(log_probs.argmax(-1).tolist(), 3)
    assert (state.num_frames, state.num_tokens) == (frames, len(tokens))


@pytest.mark.fault("F40")
def test_suppressed_indices_give_way_to_the_next_best() -> None:
    probs = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]])
    tokens, _ = run(GreedyCtc(blank=BLANK, suppress=(A,)), [probs.log()])
    assert tokens == [Token(B, 0)]
    assert torch.equal(probs, torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]]))


def test_only_suppressed_symbols_possible_counts_as_blank() -> None:
    certain = torch.tensor([[0.0, -math.inf, -math.inf]])
    b = one_hot_log_probs([B], 3)
    tokens, _ = run(GreedyCtc(blank=BLANK, suppress=(A,)), [b, certain, b])
    assert tokens == [Token(B, 0), Token(B, 2)]


def test_flushing_twice_is_harmless_and_stepping_after_it_is_not() -> None:
    decoder = GreedyCtc(blank=3)
    _, state = decoder.flush(decoder.init_state())
    assert decoder.flush(state)[1] == state
    with pytest.raises(StreamClosedError, match=r"init_state\(\)"):
        decoder.step(random_log_probs(1, 1, 4), state)


def test_nan_is_named_with_its_frame() -> None:
    log_probs = random_log_probs(1, 5, 4)
    log_probs[3, 1] = math.nan
    decoder = GreedyCtc(blank=3)
    with pytest.raises(CheckpointError, match="frame 3 of this step"):
        decoder.step(log_probs, decoder.init_state())


@pytest.mark.parametrize("shape", [(5,), (2, 5, 4), (5, 3)])
def test_a_shape_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    decoder = GreedyCtc(blank=3)
    with pytest.raises(ConfigError, match="at least 4"):
        decoder.step(torch.zeros(shape), decoder.init_state())


def test_bad_indices_are_refused() -> None:
    with pytest.raises(ConfigError, match="without it a CTC search cannot be silent"):
        GreedyCtc(blank=3, suppress=(1, 3))
    with pytest.raises(ConfigError, match="-1 .* is not an index"):
        GreedyCtc(blank=3, suppress=(-1,))
    with pytest.raises(ConfigError, match="'3'.*expected a whole number"):
        GreedyCtc(blank="3")  # type: ignore[arg-type]


def test_blank_penalty_lets_the_second_best_speak() -> None:
    probs = torch.tensor([[0.3, 0.1, 0.6]])
    before = probs.clone()
    silent, _ = run(GreedyCtc(blank=BLANK), [probs.log()])
    # exp(-0.6) * 0.6 = 0.33 is still above 0.3, exp(-0.8) * 0.6 = 0.27 is not.
    still_silent, _ = run(GreedyCtc(blank=BLANK, blank_penalty=0.6), [probs.log()])
    spoken, _ = run(GreedyCtc(blank=BLANK, blank_penalty=0.8), [probs.log()])
    assert silent == still_silent == []
    assert [token.id for token in spoken] == [A]
    assert torch.equal(probs, before)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    suppress=st.sets(st.integers(0, 4)),
    penalty=st.sampled_from([-3.0, -0.5, 0.0, 0.5, 3.0]),
    impossible=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5)), max_size=40),
)
def test_best_symbols_are_those_of_the_adjusted_scores(
    seed: int, suppress: set[int], penalty: float, impossible: list[tuple[int, int]]
) -> None:
    log_probs = random_log_probs(seed, 12, 6)
    for frame, symbol in impossible:
        log_probs[frame, symbol] = -math.inf
    decoder = GreedyCtc(blank=5, suppress=tuple(suppress), blank_penalty=penalty)
    scores = decoder.usable(log_probs)
    expected = [5 if row.max() == -math.inf else int(row.argmax()) for row in scores]
    assert decoder.best_symbols(log_probs) == expected


def test_blank_follows_the_last_piece() -> None:
    head = CtcHead(embed_dim=4, vocab_size=6)
    assert (head.blank, blank_index(6), ctc_vocab_size(6)) == (6, 6, 7)
    assert head(torch.zeros(2, 3, 4)).shape == (2, 3, 7)


def test_output_is_a_distribution_computed_by_hand() -> None:
    head = CtcHead(embed_dim=2, vocab_size=2)
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        head.projection.bias.copy_(torch.tensor([0.0, 0.0, torch.log(torch.tensor(2.0))]))
    # logits 0, ln 3, ln 2, so the probabilities are 1/6, 3/6 and 2/6
    out = head(torch.tensor([[[0.0, 1.0986123]]]))
    torch.testing.assert_close(out[0, 0].exp(), torch.tensor([1 / 6, 3 / 6, 2 / 6]))


def test_half_precision_encoder_gives_float32_log_probs() -> None:
    head = CtcHead(embed_dim=8, vocab_size=50).to(torch.bfloat16)
    out = head(torch.randn(1, 5, 8, dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    # bfloat16 soft-max sums are off by about 1e-2
    torch.testing.assert_close(out.exp().sum(-1), torch.ones(1, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("embed_dim", "vocab_size"), [(0, 5), (5, 0), (-1, 5)])
def test_sizes_must_be_positive(embed_dim: int, vocab_size: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        CtcHead(embed_dim, vocab_size)
