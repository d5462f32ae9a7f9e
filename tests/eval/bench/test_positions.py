"""A state put far into a stream is what a stream that got there computes from."""

import pytest
import torch

from echostream.encoder import StreamState, ZipformerEncoder
from eval.bench.cases import STREAMSPEECH, Case
from eval.bench.streams import Streams, baseline_state, moved, settled_state
from tests.baseline.small_conformer import small_conformer
from tests.encoder.small_encoder import randomise, small_config

SEGMENT = 16


@pytest.fixture(scope="module")
def encoder() -> ZipformerEncoder:
    encoder = ZipformerEncoder.from_config(small_config(left_context=64))
    randomise(encoder)
    return encoder.eval()


def stepped(encoder: ZipformerEncoder, chunk: int, chunks: int) -> StreamState:
    state = encoder.init_state(1, chunk_size=chunk)
    for _ in range(chunks):
        _, _, state = encoder.step(torch.randn_like(state.pending), state)
    return state


@pytest.mark.parametrize("chunk", [8, 16, 24])
def test_only_the_counters_tell_a_long_stream_from_a_short_one(
    encoder: ZipformerEncoder, chunk: int
) -> None:
    torch.manual_seed(3)
    settled = settled_state(encoder, chunk, None)
    # Four times what it can look back on, really stepped through.
    far = stepped(encoder, chunk, 4 * 96 // chunk)
    put = moved(settled, int(far.processed_frames), SEGMENT)
    assert int(put.processed_frames) == int(far.processed_frames)
    assert [(name, x.shape, x.dtype, x.stride()) for name, x in put.named_tensors()] == [
        (name, x.shape, x.dtype, x.stride()) for name, x in far.named_tensors()
    ]
    # The stream that was stepped there, put a whole number of memory segments further on or back,
    # goes on to the bit as it would have.
    features = torch.randn(1, 6 * chunk, 5)
    expected, _, after = encoder.step(features, far)
    for there in (moved(far, 90_000, SEGMENT), back(far, settled)):
        assert int(there.processed_frames) != int(far.processed_frames)
        found, _, then = encoder.step(features, there)
        assert torch.equal(found, expected)
        for (name, a), (_, b) in zip(then.named_tensors(), after.named_tensors(), strict=True):
            assert torch.equal(a, b) or name in ("processed_frames", "segment_id"), name


@pytest.mark.parametrize(("chunk", "whole"), [(8, 16), (16, 16), (24, 48), (64, 64)])
def test_moves_are_of_whole_chunks_and_segments(
    encoder: ZipformerEncoder, chunk: int, whole: int
) -> None:
    settled = settled_state(encoder, chunk, None)
    start, pushed = int(settled.processed_frames), int(settled.segment_id)
    assert start % whole == 0
    for frames in (start + 1, start + 100, 90_001):
        put = moved(settled, frames, SEGMENT)
        assert frames <= int(put.processed_frames) < frames + whole
        assert int(put.processed_frames) % whole == 0
        assert int(put.segment_id) - pushed == (int(put.processed_frames) - start) // chunk
    assert int(moved(settled, 0, SEGMENT).processed_frames) == start


def back(state: StreamState, settled: StreamState) -> StreamState:
    """At the settled stream's place."""
    return state.map(lambda name, x: settled.processed_frames if name == "processed_frames" else x)


@pytest.mark.parametrize("streams", [1, 3])
def test_a_case_starts_where_it_says(encoder: ZipformerEncoder, streams: int) -> None:
    case = Case("echostream", "streaming", "torch", "float32", 160, None, 1800, streams=streams)
    features, state = Streams(encoder, None).start(case)
    assert features.shape == (streams, 16, 5)
    heard = state.processed_frames.tolist()
    assert 90_000 <= min(heard) <= 90_000 + 2 * SEGMENT
    assert len(set(heard)) == streams
    measured = Streams(encoder, None).measured(case)
    assert measured.state_bytes == state.nbytes // streams


@pytest.mark.parametrize("mode", ["recompute", "cached"])
def test_a_baseline_is_where_its_steps_would_have_brought_it(mode: str) -> None:
    encoder = small_conformer(torch.float32)
    torch.manual_seed(3)
    put = baseline_state(encoder, Case(STREAMSPEECH, mode, "torch", "float32", 320, None, 2))
    torch.manual_seed(3)
    state = encoder.init_state(1, chunk_size=8, mode=mode)
    for chunk in torch.randn(1, 6 * 32, 6).split(32, dim=1):  # 1.92 s of the 2
        _, _, state = encoder.step(chunk, state)
    for (name, a), (_, b) in zip(put.named_tensors(), state.named_tensors(), strict=True):
        assert torch.equal(a, b), name
