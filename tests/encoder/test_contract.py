"""What every encoder of the registry promises: streams equal whole recordings; steps are pure.

A step reads nothing back from the device: torch's ``meta`` device has nothing to read.
"""

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream.errors import StateMismatchError, StreamClosedError

from .small_encoder import equal, largest_difference, noise, push
from .subjects import SUBJECTS, Subject, subjects, unit_of

SAME = {torch.float32: 1e-5, torch.float64: 1e-10}


@st.composite
def recordings(draw: st.DrawFn) -> tuple[int, list[int]]:
    """Length of a recording and where it is cut: few places, some twice, or every single one."""
    total = draw(st.one_of(st.integers(0, 40), st.integers(41, 300)))
    if total <= 40 and draw(st.booleans()):
        return total, list(range(1, total))
    return total, sorted(draw(st.lists(st.integers(0, total), max_size=10)))


def check_cuts(
    encoder: Any, features: Tensor, cuts: list[int], chunking: Any, mode: Any = None
) -> None:
    batch, total, _ = features.shape
    out = encoder(features, **chunking)
    expected = out["encoder_out"]
    assert out["encoder_out_lengths"].tolist() == [expected.shape[1]] * batch
    y, state = push(encoder, features, cuts, encoder.init_state(batch, **chunking, **(mode or {})))
    assert largest_difference(y, expected) < SAME[features.dtype]
    assert expected.shape[1] in (total // unit_of(encoder), -(-total // unit_of(encoder)))
    assert state.processed_frames.tolist() == [expected.shape[1]] * batch
    assert state.segment_id.tolist() == [len(cuts) + 1] * batch
    assert state.finished.tolist() == [True] * batch


@pytest.mark.fault("F11")
@subjects
@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(tuple(SAME)), recordings(), st.sampled_from((1, 3)))
def test_any_cuts(
    subject: Subject,
    data: st.DataObject,
    dtype: torch.dtype,
    recording: tuple[int, list[int]],
    batch: int,
) -> None:
    total, cuts = recording
    encoder = data.draw(st.sampled_from(subject.makers))(dtype)
    chunking = data.draw(st.sampled_from(subject.chunkings))
    features = noise(batch, total, encoder.input_dim, seed=total, dtype=dtype)
    check_cuts(encoder, features, cuts, chunking, data.draw(st.sampled_from(subject.modes)))


@pytest.mark.fault("F10", "F13")
@subjects
def test_last_partial_chunk(subject: Subject) -> None:
    encoder = subject.make()
    for mode, chunking in itertools.product(subject.modes, subject.few[:2]):
        for total in (0, 1, 2, 15, 16, 17, 33, 127, 128, 129):
            features = noise(1, total, encoder.input_dim, seed=total)
            # The end comes with the last frames, or alone in an empty push.
            for cuts in ([], [total], [total // 2, total, total]):
                check_cuts(encoder, features, cuts, chunking, mode)


@subjects
@settings(deadline=None, max_examples=25)
@given(st.data(), recordings(), recordings())
def test_cuts_change_no_bit(
    subject: Subject,
    data: st.DataObject,
    recording: tuple[int, list[int]],
    other: tuple[int, list[int]],
) -> None:
    """A chunk is computed alone however it came, so the very same operations run."""
    encoder = data.draw(st.sampled_from(subject.makers))(torch.float32)
    chunking = {**data.draw(st.sampled_from(subject.chunkings)), **subject.cached}
    total, cuts = recording
    other_cuts = sorted(min(cut, total) for cut in other[1])
    features = noise(1, total, encoder.input_dim, dtype=torch.float32)
    y1, state1 = push(encoder, features, cuts, encoder.init_state(**chunking))
    y2, state2 = push(encoder, features, other_cuts, encoder.init_state(**chunking))
    assert torch.equal(y1, y2)
    assert equal(state1, state2, but="segment_id")


@subjects
def test_recordings_of_different_lengths(subject: Subject) -> None:
    """Each gets what it gets alone; anything may stand in the padding."""
    lengths = (139, 64, 0, 1, 97)
    for make in subject.makers:
        encoder = make(torch.float64)
        recordings = [noise(1, total, encoder.input_dim, seed=total) for total in lengths]
        for chunking in subject.few:
            # Longer than any of them, too.
            batch = torch.full((len(lengths), 150, encoder.input_dim), float("nan")).double()
            for row, recording in zip(batch, recordings, strict=True):
                row[: recording.shape[1]] = recording[0]
            out = encoder(batch, torch.tensor(lengths), **chunking)
            for row, count, recording in zip(
                out["encoder_out"], out["encoder_out_lengths"].tolist(), recordings, strict=True
            ):
                alone = encoder(recording, **chunking)["encoder_out"][0]
                assert count == len(alone)
                assert largest_difference(row[:count], alone) < 1e-10
                assert not row[count:].any()


@pytest.mark.fault("F38")
@subjects
def test_steps_are_pure(subject: Subject) -> None:
    """Twice from one state is equal to the bit; what came in and out may be written into."""
    for encoder, chunking in subject.each():
        first = noise(2, 77, encoder.input_dim)
        y, _, state = encoder.step(first, encoder.init_state(2, **chunking))
        kept = state.clone()
        first.fill_(9.0)
        y.fill_(9.0)
        features = noise(2, 80, encoder.input_dim, seed=1)
        y, lengths, after = encoder.step(features, state, is_final=True)
        values = y.clone(), after.clone()
        encoder.step(noise(2, 200, encoder.input_dim, seed=2), state)
        again, lengths_again, after_again = encoder.step(features, state, is_final=True)
        assert torch.equal(features, noise(2, 80, encoder.input_dim, seed=1))
        assert torch.equal(y, values[0]) and torch.equal(again, y)
        assert torch.equal(lengths, lengths_again)
        assert equal(after, values[1]) and equal(after_again, after)
        assert equal(state, kept)


@subjects
def test_a_state_owns_what_it_holds(subject: Subject) -> None:
    """No view of a larger tensor, no graph of gradients, and a clone shares nothing."""
    for encoder, chunking in subject.each():
        wanting = copy.deepcopy(encoder).requires_grad_(True)
        features = noise(3, 203, encoder.input_dim)
        y, _, state = wanting.step(features, wanting.init_state(3, **chunking))
        assert wanting(features)["encoder_out"].requires_grad and not y.requires_grad
        held = [tensor for _, tensor in state.named_tensors() if tensor.numel()]
        assert not any(tensor.requires_grad for tensor in held)
        assert all(tensor.is_contiguous() for tensor in held)
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
        assert sum(storages.values()) == state.nbytes
        copied = [tensor for _, tensor in state.clone().named_tensors() if tensor.numel()]
        assert equal(state, state.clone())
        assert not {t.untyped_storage().data_ptr() for t in copied} & storages.keys()


@subjects
def test_streams_share_a_batch_and_part_again(subject: Subject) -> None:
    for encoder, chunking in subject.each():
        sources = [noise(1, 150, encoder.input_dim, seed=seed) for seed in (1, 2, 3)]
        states = [encoder.step(x[:, :70], encoder.init_state(**chunking))[2] for x in sources]
        kind = type(states[0])
        joined = kind.stack([kind.stack(states[:2]), states[2]])
        assert equal(joined, kind.stack(states)) and joined.batch_size == 3
        assert all(equal(a, b) for a, b in zip(joined.unstack(), states, strict=True))
        rest = torch.cat([x[:, 70:] for x in sources])
        together, lengths, _ = encoder.step(rest, joined, is_final=True)
        for row, (x, state) in enumerate(zip(sources, states, strict=True)):
            alone, count, _ = encoder.step(x[:, 70:], state, is_final=True)
            assert int(lengths[row]) == int(count)
            assert largest_difference(together[row : row + 1], alone) < 1e-10


@subjects
def test_states_that_do_not_fit_are_not_stacked(subject: Subject) -> None:
    encoder, chunking = subject.make(), subject.chunkings[0]
    state = encoder.init_state(**chunking)
    kind = type(state)
    with pytest.raises(StateMismatchError, match="empty"):
        kind.stack([])
    for other in subject.other_chunkings:
        with pytest.raises(StateMismatchError, match=r"state 1 .*expected"):
            kind.stack([state, encoder.init_state(**other)])
    for make in subject.others:
        stranger = make(torch.float64).init_state(**chunking)
        for states in ([state, stranger], [stranger, state]):
            with pytest.raises(StateMismatchError):
                kind.stack(states)


@subjects
def test_a_stream_goes_on_in_another_precision(subject: Subject) -> None:
    for encoder, chunking in subject.each(torch.float32):
        features = noise(1, 150, encoder.input_dim, dtype=torch.float32)
        y, _, state = encoder.step(features[:, :80], encoder.init_state(**chunking))
        wide = state.to(dtype=torch.float64)
        for name, tensor in wide.named_tensors():
            counter = torch.bool if name == "finished" else torch.int64
            assert tensor.dtype == (counter if name in state.counters else torch.float64)
        assert equal(state, wide.to("cpu", torch.float32)) and equal(state, state.to())
        rest, _, _ = encoder.step(features[:, 80:], wide.to(dtype=torch.float32), is_final=True)
        sizes = {name: chunking[name] for name in subject.chunkings[0]}
        expected = encoder(features, **sizes)["encoder_out"]
        assert largest_difference(torch.cat((y, rest), dim=1), expected) < 1e-5


@subjects
def test_a_finished_stream_is_closed(subject: Subject) -> None:
    for encoder, chunking in subject.each():
        _, state = push(
            encoder, noise(1, 50, encoder.input_dim), [], encoder.init_state(**chunking)
        )
        # An empty push, also one that says "final" again, adds nothing and is harmless.
        y, lengths, again = encoder.step(noise(1, 0, encoder.input_dim), state, is_final=True)
        assert y.shape == (1, 0, encoder.output_dim) and lengths.tolist() == [0]
        assert equal(again, state, but="segment_id")
        for frames in (1, 64):
            with pytest.raises(StreamClosedError, match="finished"):
                encoder.step(noise(1, frames, encoder.input_dim), state)


@subjects
def test_what_does_not_fit_is_refused(subject: Subject) -> None:
    encoder = subject.make()
    width = encoder.input_dim
    state = encoder.init_state(**subject.chunkings[0])
    shape = rf"expected \[batch, frames, {width}\]"
    wrong: list[tuple[Tensor, Any, str]] = [
        (noise(width), None, shape),
        (noise(9, width), None, shape),
        (noise(1, 9, width + 1), None, shape),
        (noise(1, 1, 9, width), None, shape),
        (noise(1, 9, width, dtype=torch.float32), None, "float32 but the encoder is"),
        *(
            (noise(1, 9, width), torch.tensor(lengths, dtype=torch.int64), "numbers from 0 to 9")
            for lengths in ([10], [-1], [5, 5], [])
        ),
    ]
    for features, lengths, message in wrong:
        with pytest.raises(StateMismatchError, match=message):
            encoder(features, lengths)
        with pytest.raises(StateMismatchError, match=message):
            encoder.step(features, state, lengths)
    with pytest.raises(StateMismatchError, match=r"for 2 streams but .* for\s+1"):
        encoder.step(noise(1, 9, width), encoder.init_state(2))
    for make in subject.others:
        with pytest.raises(StateMismatchError, match="another configuration"):
            encoder.step(noise(1, 9, width), make(torch.float64).init_state())


FLOAT = torch.float32


@pytest.mark.parametrize("batch", [1, 3])
@subjects
@torch.no_grad()
def test_steps_never_wait_for_the_device(subject: Subject, batch: int) -> None:
    encoder = copy.deepcopy(subject.make(FLOAT))
    on_cpu = encoder.init_state(batch)
    encoder.to("meta")
    state = encoder.init_state(batch)
    assert state.device.type == "meta" and on_cpu.to("meta").device.type == "meta"
    frames = 0
    for size, is_final in ((7, False), (90, False), (32, False), (1, False), (30, True)):
        features = torch.zeros(batch, size, encoder.input_dim, device="meta")
        y, lengths, state = encoder.step(features, state, is_final=is_final)
        assert y.device.type == "meta"
        frames += int(lengths[0])
    assert frames == int(state.processed_frames[0]) == 160 // unit_of(encoder)
    assert bool(state.finished.all())
    for tensor in (getattr(state, name) for name in state.counters):
        assert tensor.device.type == "cpu"


@torch.no_grad()
def test_streams_that_wait_are_known_without_the_device() -> None:
    encoder = copy.deepcopy(SUBJECTS["zipformer"].make(FLOAT)).to("meta")
    state = encoder.init_state(3)
    features = torch.zeros(3, 40, encoder.input_dim, device="meta")
    lengths, active = torch.tensor([40, 8, 32]), torch.tensor([True, True, False])
    _, given, after = encoder.step(features, state, lengths, active=active)
    assert given.tolist() == [16, 0, 0]
    assert after.segment_id.tolist() == [1, 1, 0]
    assert [len(each.pending) for each in after.unstack()] == [1, 1, 1]
    assert type(after).stack(after.unstack()).device.type == "meta"
