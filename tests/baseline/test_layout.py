"""Names, shapes and number of weights are the published model's; what a stream's state holds."""

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder
from echostream.config import ChunkConformerConfig, load_config
from echostream.errors import ConfigError, StateMismatchError
from tests.encoder.small_encoder import noise

from .small_conformer import INPUT_DIM, small_conformer

LAYER = {
    **{
        f"ffn{number}.{name}": shape
        for number in (1, 2)
        for name, shape in {
            "layer_norm.weight": (256,),
            "layer_norm.bias": (256,),
            "w_1.weight": (2048, 256),
            "w_1.bias": (2048,),
            "w_2.weight": (256, 2048),
            "w_2.bias": (256,),
        }.items()
    },
    "self_attn_layer_norm.weight": (256,),
    "self_attn_layer_norm.bias": (256,),
    **{f"self_attn.linear_{name}.weight": (256, 256) for name in ("q", "k", "v", "out", "pos")},
    **{f"self_attn.linear_{name}.bias": (256,) for name in ("q", "k", "v", "out")},
    "self_attn.pos_bias_u": (4, 64),
    "self_attn.pos_bias_v": (4, 64),
    "conv_module.layer_norm.weight": (256,),
    "conv_module.layer_norm.bias": (256,),
    "conv_module.pointwise_conv1.weight": (512, 256, 1),
    "conv_module.depthwise_conv.weight": (256, 1, 31),
    "conv_module.batch_norm.weight": (256,),
    "conv_module.batch_norm.bias": (256,),
    "conv_module.batch_norm.running_mean": (256,),
    "conv_module.batch_norm.running_var": (256,),
    "conv_module.batch_norm.num_batches_tracked": (),
    "conv_module.pointwise_conv2.weight": (256, 256, 1),
    "final_layer_norm.weight": (256,),
    "final_layer_norm.bias": (256,),
}
ENCODER = {
    "subsample.conv_layers.0.weight": (1024, 80, 5),
    "subsample.conv_layers.0.bias": (1024,),
    "subsample.conv_layers.1.weight": (512, 512, 5),
    "subsample.conv_layers.1.bias": (512,),
    "linear.weight": (256, 256),
    "linear.bias": (256,),
    **{
        f"conformer_layers.{number}.{name}": shape
        for number in range(12)
        for name, shape in LAYER.items()
    },
}


@pytest.fixture(scope="module")
def encoder() -> ChunkConformerEncoder:
    return ChunkConformerEncoder()


def test_names_and_shapes(encoder: ChunkConformerEncoder) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert found == ENCODER
    assert len(found) == 450


def test_shipped_configuration(
    request: pytest.FixtureRequest, encoder: ChunkConformerEncoder
) -> None:
    config = load_config(request.config.rootpath / "configs" / "streamspeech.yaml")
    assert config.encoder == ChunkConformerConfig() == encoder.config
    assert (config.asr_vocab_size, config.st_vocab_size) == (6000, 6000)
    assert config.audio.lead_in_samples == 240


def test_chunk_sizes_may_be_given_by_position() -> None:
    encoder = ChunkConformerEncoder(
        embed_dim=16, ffn_dim=32, num_layers=1, num_heads=2, conv_channels=16
    ).eval()
    features, lengths = torch.randn(2, 70, 80), torch.tensor([70, 40])
    with torch.no_grad():
        by_position = encoder(features, lengths, 8, 8)["encoder_out"]
        by_name = encoder(features, lengths, chunk_size=8, conv_chunk_size=8)["encoder_out"]
    assert torch.equal(by_position, by_name)


MODES = ("cached", "recompute")


def test_what_a_state_holds() -> None:
    encoder = small_conformer()
    cached, recompute = (
        encoder.step(noise(1, 100, INPUT_DIM), encoder.init_state(mode=mode))[2] for mode in MODES
    )
    # 8 bytes a number: 96 feature frames encoded, 4 waiting, and three counters and a flag.
    assert recompute.nbytes == 8 * (96 + 4) * INPUT_DIM + 3 * 8 + 1
    # Keys and values of 24 frames, the past of three kinds of convolutions, the same 4 frames.
    convolutions = 2 * INPUT_DIM + 2 * 10 + 2 * 3 * 16
    assert cached.nbytes == 8 * (2 * 2 * 24 * 16 + convolutions + 4 * INPUT_DIM) + 3 * 8 + 1
    assert cached.heard.numel() == 0 and recompute.cache is None
    assert cached.device == torch.device("cpu")
    assert (cached.chunk_size, cached.conv_chunk_size, cached.mode) == (8, 8, "cached")


def test_lengths_cut_all_streams_alike() -> None:
    encoder = small_conformer()
    features = noise(2, 40, INPUT_DIM)
    _, _, state = encoder.step(features, encoder.init_state(2), torch.tensor([33, 33]))
    assert state.pending_lengths.tolist() == [1, 1]
    with pytest.raises(StateMismatchError, match=r"\[33, 32\].*advance together"):
        encoder.step(features, encoder.init_state(2), torch.tensor([33, 32]))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"chunk_size": 7}, "7 .*stride of 2.*even number"),
        ({"chunk_size": 1}, "stride of 2"),
        ({"chunk_size": 24}, "24 .*end at different frames"),
        ({"chunk_size": 18}, "end at different frames"),
        ({"chunk_size": 10, "conv_chunk_size": 8}, "end at different frames"),
        ({"chunk_size": 99999}, "end of the recording"),
        ({"chunk_size": 0}, "end of the recording"),
        ({"chunk_size": -1}, "end of the recording"),
        ({"chunk_size": 8, "conv_chunk_size": 999}, "end of the recording"),
        ({"chunk_size": 16, "conv_chunk_size": 0}, "end of the recording"),
    ],
)
def test_chunks_that_cannot_be_streamed(sizes: dict[str, int], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        small_conformer().init_state(**sizes)


def test_configuration() -> None:
    config = ChunkConformerConfig(
        embed_dim=16, ffn_dim=24, num_layers=1, num_heads=2, chunk_size=32, mode="recompute"
    )
    encoder = ChunkConformerEncoder.from_config(config)
    assert encoder.config == config
    assert (encoder.frame_ms, encoder.chunk_multiple, encoder.output_dim) == (40, 2, 16)
    state = encoder.init_state()
    assert (state.chunk_size, state.conv_chunk_size, state.mode) == (32, 16, "recompute")
    assert encoder.layout != small_conformer().layout
    with pytest.raises(ConfigError, match="'replay'.*cached, recompute"):
        encoder.init_state(mode="replay")
    with pytest.raises(ConfigError, match="conv_kernel"):
        ChunkConformerEncoder(conv_kernel=30)
