"""The integration tests that the specification names, on the encoder it asks for, and its size."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.audio import FrontEnd
from echostream.config import load_config
from echostream.encoder import StreamingPipeline, StreamState, ZipformerEncoder
from echostream.errors import StreamClosedError
from echostream.model import SpeechModel
from tests.small_system import audio

from .reach import dependencies
from .small_encoder import (
    INPUT_DIM,
    equal,
    fresh_encoder,
    largest_difference,
    noise,
    push,
    randomise,
    small_encoder,
)


def specified() -> ZipformerEncoder:
    """The specification's own call."""
    return ZipformerEncoder(
        input_dim=80,
        embed_dim=512,
        num_heads=8,
        ffn_dim=2048,
        num_layers_per_stack=2,
        memory_size=4,
        max_future_frames=0,
    )


@pytest.fixture(scope="module")
def base() -> ZipformerEncoder:
    encoder = specified()
    randomise(encoder)
    return encoder.eval()


def test_end_to_end_forward(base: ZipformerEncoder) -> None:
    """Shapes, lengths, finite values, padding; and every parameter has a part in the output."""
    features = noise(3, 201, 80, dtype=torch.float32)
    with torch.no_grad():
        out = base(features, torch.tensor([201, 150, 0]))
        alone = base(features[1:2, :150])["encoder_out"]
    y = out["encoder_out"]
    assert set(out) == {"encoder_out", "encoder_out_lengths"}
    assert y.shape == (3, 100, 512) and y.dtype == torch.float32
    assert out["encoder_out_lengths"].tolist() == [100, 75, 0]
    assert y.isfinite().all()
    assert not y[1, 75:].any() and not y[2].any()
    assert float(y[0].std()) > 0.1
    assert largest_difference(y[1, :75], alone[0]) < 1e-5

    small = fresh_encoder().train()
    features = noise(1, 161, INPUT_DIM, dtype=torch.float32)
    y = small(features, max_future_frames=None)["encoder_out"]
    (y * noise(*y.shape, seed=1, dtype=torch.float32)).sum().backward()
    for name, parameter in small.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("chunk, future", [(16, 0), (16, None), (8, 1)])
def test_streaming_vs_offline(base: ZipformerEncoder, chunk: int, future: int | None) -> None:
    """3.33 s of audio in segments that fit no chunk; the last chunk is partial."""
    features = noise(1, 333, 80, dtype=torch.float32)
    chunking: dict[str, Any] = {"chunk_size": chunk, "max_future_frames": future}
    with torch.no_grad():
        expected = base(features, **chunking)["encoder_out"]
    y, _ = push(base, features, [1, 30, 101, 101, 250], base.init_state(**chunking))
    assert y.shape == (1, 166, 512)
    assert largest_difference(y, expected) < 1e-5


def test_streaming_interface(base: ZipformerEncoder) -> None:
    """Audio or features in windows of any size: each frame is encoded once, and a stream ends."""
    samples = audio(1.0)
    front_end = FrontEnd(None)
    first, state = front_end.step(samples, 16_000, front_end.init_state())
    features = torch.from_numpy(np.concatenate((first, front_end.flush(state)[0])))
    with torch.no_grad():
        expected = base(features[None])["encoder_out"][0]
    windows = StreamingPipeline(base, chunk_size=7, overlap=3)
    for pipeline, whole in ((StreamingPipeline(base), samples), (windows, features)):
        cuts = itertools.pairwise([0, 3, 3, len(whole) // 2, len(whole)])
        parts = [pipeline.process(whole[a:b], is_final=b == len(whole)) for a, b in cuts]
        assert largest_difference(torch.cat(parts), expected) < 1e-5
        with pytest.raises(StreamClosedError):
            pipeline.process(whole[:3])
        pipeline.reset()
        assert len(pipeline.process(whole[:3])) == 0


def test_memory_efficiency(base: ZipformerEncoder) -> None:
    """State bytes do not depend on what was heard, and are the sum worked out here by hand.

    A layer keeps P frames of keys (32 a head), non-linear values (3/4 of the channels) and two
    sets of values (12 a head), and twice K // 2 frames of convolution input:

        stack      P  heads  channels  K    floats of a layer
        0        128      3       192  31   128 * (96 + 144 + 72) + 30 * 192   = 45,696
        1, 5      64      4       256  31    64 * (128 + 192 + 96) + 30 * 256  = 34,304
        2, 4      32      6       384  15    32 * (192 + 288 + 144) + 14 * 384 = 25,344
        3         16      8       512  15    16 * (256 + 384 + 192) + 14 * 512 = 20,480

    Two layers each: 370,944. The memory keeps 9 group means of 512 (4 segments of two groups and
    one of the running segment), the queue 32 feature frames of 80, the stem 7. Three counters of
    8 bytes and a flag of 1.
    """
    floats = 2 * (45_696 + 2 * 34_304 + 2 * 25_344 + 20_480) + 9 * 512 + 32 * 80 + 7 * 80
    assert base.init_state().nbytes == 4 * floats + 3 * 8 + 1 == 1_514_713
    assert base.init_state(5).nbytes == 5 * base.init_state().nbytes
    # Half the left context takes away half the frames of keys and values.
    caches = 2 * (128 * 312 + 2 * 64 * 416 + 2 * 32 * 624 + 16 * 832)
    assert base.init_state(left_context=64).nbytes == 4 * (floats - caches // 2) + 25

    encoder = small_encoder(4, torch.float32)
    state = encoder.init_state()
    size = state.nbytes
    for second in range(60):
        features = noise(1, 100, INPUT_DIM, seed=second, dtype=torch.float32)
        _, _, state = encoder.step(features, state)
        assert state.nbytes == size
    assert state.processed_frames.tolist() == [6000 // 32 * 16]


@pytest.mark.parametrize(
    ("chunk", "milliseconds", "future"),
    [(8, 160, None), (16, 320, 0), (32, 640, 1), (64, 1280, None)],
)
def test_latency_by_chunk_size(chunk: int, milliseconds: int, future: int | None) -> None:
    """Algorithmic latency: a chunk comes out with its own last feature frame, whatever L is."""
    encoder = small_encoder(4, torch.float32)
    state = encoder.init_state(chunk_size=chunk, max_future_frames=future)
    came_out = {}
    for frame in range(1, 300):
        y, lengths, state = encoder.step(
            noise(1, 1, INPUT_DIM, seed=frame, dtype=torch.float32), state
        )
        assert lengths.tolist() == [y.shape[1]]
        if y.shape[1]:
            came_out[10 * frame] = y.shape[1]
    assert came_out == {ms: chunk for ms in range(milliseconds, 3000, milliseconds)}


def test_ct_mask_impact() -> None:
    """L changes the output exactly where it may.

    Where there is nothing ahead in the chunk it changes nothing; beyond the chunk it is the whole
    chunk; in between, what a feature frame can reach grows with L and ends at its chunk.
    """
    encoder = small_encoder(4)
    features = noise(1, 192, INPUT_DIM)

    def encode(x: Tensor, future: int | None, chunk: int = 32) -> Tensor:
        return encoder(x, chunk_size=chunk, left_context=64, max_future_frames=future)[
            "encoder_out"
        ][0]

    for a, b in ((0, 1), (1, 4), (4, None)):
        difference = (encode(features, a) - encode(features, b)).abs().amax(dim=1)
        assert difference.shape == (96,) and (difference > 1e-4).all()
        one_frame = features[:, :2]
        assert torch.equal(encode(one_frame, a), encode(one_frame, b))
    assert torch.equal(encode(features, 31), encode(features, None))
    assert not torch.equal(encode(features, 30), encode(features, None))

    # Feature frame 120 is in encoder frame 60, in chunk 32..63, in its last group of 8.
    other = features.clone()
    other[:, 120] += 1.0
    first = {}
    for future in (0, 1, 4, None):
        changed = (encode(features, future) != encode(other, future)).any(dim=1)
        may = dependencies(encoder.config, 96, 32, 64, future)[:, 120]
        assert not (changed & ~may).any()
        first[future] = int(changed.nonzero()[0])
    assert first[0] == 56 and first[None] == 32
    assert 56 > first[1] >= first[4] >= 32


def test_state_consistency(request: pytest.FixtureRequest) -> None:
    """From one state: twice the same; cloned, saved, and batched with another the same; unchanged
    by it all; and what came before it in which pieces does not show."""
    config = load_config(request.config.rootpath / "configs" / "tiny.yaml").encoder
    encoder = ZipformerEncoder.from_config(config).eval().requires_grad_(False)
    randomise(encoder)
    features = noise(1, 230, 80, dtype=torch.float32)
    heard, coming = features[:, :117], features[:, 117:]
    _, _, state = encoder.step(heard, encoder.init_state())
    before = state.clone()

    expected, _, after = encoder.step(coming, state, is_final=True)
    assert expected.shape == (1, 115 - 48, config.output_dim)
    piecewise = encoder.init_state()
    for frame in range(0, 117, 13):
        _, _, piecewise = encoder.step(heard[:, frame : frame + 13], piecewise)
    assert piecewise.segment_id.tolist() == [9] and state.segment_id.tolist() == [1]
    restored = StreamState.from_bytes(state.to_bytes(encoder.fingerprint()), encoder)
    for same in (state, state.clone(), restored, piecewise):
        assert torch.equal(encoder.step(coming, same, is_final=True)[0], expected)

    pair = StreamState.stack([encoder.init_state(), state])
    batched, _, _ = encoder.step(coming.repeat(2, 1, 1), pair, is_final=True)
    assert largest_difference(batched[1, : expected.shape[1]], expected[0]) < 1e-5

    assert equal(state, before)
    assert state.processed_frames.tolist() == [48] and state.pending_lengths.tolist() == [21]
    assert after.processed_frames.tolist() == [115] and after.finished.tolist() == [True]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_specifications_call() -> None:
    """42.15M within 2 %, and 512 channels; ``configs/base.yaml`` is the same encoder."""
    with torch.device("meta"):
        encoder = specified()
    assert abs(count(encoder) / 42.15e6 - 1) < 0.02
    assert encoder.config.output_dim == 512
    assert encoder.config.widths == (192, 256, 384, 512, 384, 256)
    assert encoder.config.heads == (3, 4, 6, 8, 6, 4)
    assert encoder.config.layers == (2,) * 6


def test_base_configuration(request: pytest.FixtureRequest) -> None:
    config = load_config(request.config.rootpath / "configs" / "base.yaml")
    with torch.device("meta"):
        from_file = ZipformerEncoder.from_config(config.encoder)
        from_defaults = ZipformerEncoder()
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
        for encoder in (from_file, from_defaults)
    ]
    assert shapes[0] == shapes[1]
    assert abs(count(from_file) / 42.15e6 - 1) < 0.02


def test_tiny_configuration(request: pytest.FixtureRequest) -> None:
    """The whole system that is trained and shipped: at most 4M."""
    config = load_config(request.config.rootpath / "configs" / "tiny.yaml")
    with torch.device("meta"):
        model = SpeechModel(config)
    assert 3e6 < model.num_parameters <= 4e6
    assert model.num_parameters == count(model)


def test_memory_bank_is_optional() -> None:
    """M = 0 takes the bank away, parameters and all, and nothing else."""
    with torch.device("meta"):
        with_bank, without = ZipformerEncoder(), ZipformerEncoder(memory_size=0)
    assert with_bank.memory is not None and without.memory is None
    assert count(with_bank) - count(without) == count(with_bank.memory)
