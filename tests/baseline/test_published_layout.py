"""Names, shapes and number of weights are those of the published model."""

from __future__ import annotations

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder
from echostream.config import ChunkConformerConfig, load_config

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
