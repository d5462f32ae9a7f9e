from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.config import (
    AudioConfig,
    ChunkConformerConfig,
    DecoderConfig,
    EncoderConfig,
    PolicyConfig,
    SystemConfig,
    TextDecoderConfig,
    WhisperEncoderConfig,
    check_chunking,
    from_mapping,
    load_config,
    save_config,
    to_mapping,
)
from echostream.errors import ConfigError

per_stack = st.integers(16, 600) | st.tuples(*[st.integers(16, 600)] * 6)
odd_per_stack = st.sampled_from((3, 31)) | st.tuples(*[st.sampled_from((3, 7, 15, 31))] * 6)
multiples_of_8 = st.integers(1, 40).map(lambda n: 8 * n)
# YAML counts U+0085 and others as line ends and folds them; no name holds such a character.
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=9)
plain = st.integers(-9, 9) | st.floats(-2, 2) | st.booleans() | words | st.none()
options = st.dictionaries(words.filter(bool), plain | st.lists(plain), max_size=3)

systems = st.builds(
    SystemConfig,
    source_language=words,
    asr_vocab_size=st.integers(2, 10_000),
    st_vocab_size=st.integers(2, 10_000),
    audio=st.builds(
        AudioConfig,
        lead_in_samples=st.integers(0, 16_000),
        nan_policy=st.sampled_from(("error", "zero")),
        channel=st.sampled_from(("mean", "left", "right")),
    ),
    encoder=st.builds(
        EncoderConfig,
        embed_dim=per_stack,
        num_heads=per_stack,
        ffn_dim=per_stack,
        num_layers_per_stack=per_stack,
        conv_kernel=odd_per_stack,
        stem_channels=st.tuples(*[st.integers(1, 64)] * 3),
        pos_dim=st.integers(1, 40).map(lambda n: 2 * n),
        memory_size=st.integers(0, 9),
        memory_segment=multiples_of_8,
        memory_dim=st.integers(600, 1200),
        chunk_size=multiples_of_8,
        left_context=multiples_of_8 | st.just(0),
        max_future_frames=st.none() | st.integers(0, 64),
        dropout=st.floats(0, 1, exclude_max=True),
    ),
    decoder=st.builds(DecoderConfig, name=words, options=options),
    policy=st.builds(PolicyConfig, name=words, options=options, st_options=options),
)


@settings(deadline=None, max_examples=100)
@given(systems)
def test_mapping_and_yaml_round_trips(config: SystemConfig) -> None:
    assert from_mapping(SystemConfig, to_mapping(config)) == config
    text = yaml.safe_dump(to_mapping(config), allow_unicode=True)
    assert from_mapping(SystemConfig, yaml.safe_load(text)) == config


@pytest.mark.parametrize(
    "config",
    [
        SystemConfig(),
        SystemConfig(
            source_language="日本語",
            encoder=EncoderConfig(embed_dim=(8, 16, 24, 32, 24, 16), max_future_frames=None),
            policy=PolicyConfig("wait-k", {"k": 3, "nested": {"a": [1, None, "x"]}}),
        ),
        SystemConfig(
            source_language="multilingual",
            source_languages=("es", "haw"),
            asr_vocab_size=0,
            st_vocab_size=0,
            audio=AudioConfig(features="whisper"),
            encoder=WhisperEncoderConfig(num_layers=2),
            text_decoder=TextDecoderConfig(alignment_heads=((3, 1), (5, 7))),
        ),
    ],
)
def test_file_round_trip(config: SystemConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path / "system.yaml")
    assert load_config(tmp_path / "system.yaml") == config


@pytest.mark.parametrize("name", ["base", "tiny"])
def test_shipped_files(name: str, request: pytest.FixtureRequest) -> None:
    config = load_config(request.config.rootpath / "configs" / f"{name}.yaml")
    assert config.encoder.max_future_frames is None
    assert (config.encoder.chunk_size, config.encoder.left_context) == (16, 128)


def test_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "empty.yaml") == SystemConfig()


def refused(values: Any, *parts: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(SystemConfig, values)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.fault("F32")
@pytest.mark.parametrize(
    "values, path, nearest",
    [
        ({"encodr": {}}, "'encodr'", "'encoder'"),
        ({"encoder": {"chunk_sise": 16}}, "'encoder.chunk_sise'", "'chunk_size'"),
        ({"encoder": {"max_future_frame": 1}}, "'encoder.max_future_frame'", "'max_future_frames'"),
        ({"audio": {"lead_in": 3}}, "'audio.lead_in'", "'lead_in_samples'"),
        ({"policy": {"option": {}}}, "'policy.option'", "'options'"),
    ],
)
def test_unknown_key_names_the_nearest(values: dict[str, Any], path: str, nearest: str) -> None:
    refused(values, "unknown configuration key", path, f"did you mean {nearest}?")


def test_unknown_key_without_a_near_one_names_all() -> None:
    refused({"decoder": {"zzz": 1}}, "'decoder.zzz'", "known keys: name, options")
    refused({5: 1}, "'5'", "known keys: source_language")


@pytest.mark.fault("F32")
@pytest.mark.parametrize(
    "values, path, expected",
    [
        ({"encoder": 3}, "encoder is 3", "keys and values"),
        ({"encoder": None}, "encoder is None", "keys and values"),
        ({"encoder": {"chunk_size": "16"}}, "encoder.chunk_size is '16' (str)", "expected int"),
        ({"encoder": {"chunk_size": 16.0}}, "encoder.chunk_size is 16.0 (float)", "expected int"),
        ({"encoder": {"chunk_size": True}}, "encoder.chunk_size is True (bool)", "expected int"),
        ({"encoder": {"chunk_size": None}}, "encoder.chunk_size is None", "expected int"),
        ({"encoder": {"embed_dim": "512"}}, "encoder.embed_dim is '512'", "int | tuple"),
        ({"encoder": {"embed_dim": [1, 2, 3.5, 4, 5, 6]}}, "encoder.embed_dim is [1,", "int"),
        ({"encoder": {"stem_channels": 8}}, "encoder.stem_channels is 8", "tuple"),
        ({"encoder": {"stem_channels": [8, "a", 1]}}, "encoder.stem_channels[1] is 'a'", "int"),
        ({"encoder": {"dropout": "0.1"}}, "encoder.dropout is '0.1'", "float"),
        ({"encoder": {"dropout": False}}, "encoder.dropout is False", "float"),
        ({"encoder": {"max_future_frames": "none"}}, "max_future_frames is 'none'", "int | None"),
        ({"source_language": 3}, "source_language is 3 (int)", "expected str"),
        ({"policy": {"options": "k"}}, "policy.options has 'k'", "expected name=value"),
        ({"policy": {"options": [1]}}, "policy.options is [1] (list)", "dict"),
        ([1], "the configuration is [1]", "keys and values"),
    ],
    ids=str,
)
def test_wrong_types_are_named(values: Any, path: str, expected: str) -> None:
    refused(values, path, expected)


def test_options_may_be_written_as_on_the_command_line() -> None:
    as_text = from_mapping(SystemConfig, {"policy": {"name": "wait-k", "options": "k=3, a=x"}})
    as_mapping = from_mapping(SystemConfig, {"policy": {"options": {"k": 3, "a": "x"}}})
    assert as_text.policy.options == as_mapping.policy.options == {"k": 3, "a": "x"}


def test_whole_numbers_serve_as_floats() -> None:
    dropout = from_mapping(SystemConfig, {"encoder": {"dropout": 0}}).encoder.dropout
    assert isinstance(dropout, float) and dropout == 0.0


@pytest.mark.fault("F32")
@pytest.mark.parametrize(
    "field, value",
    [
        ("embed_dim", 0),
        ("embed_dim", (1, 2, 3)),
        ("embed_dim", (1, 2, 3, 4, 5, 0)),
        ("embed_dim", ()),
        ("num_heads", -1),
        ("ffn_dim", (1,) * 7),
        ("num_layers_per_stack", 0),
        ("conv_kernel", 30),
        ("conv_kernel", (31, 31, 15, 16, 15, 31)),
        ("conv_kernel", -1),
        ("stem_channels", (8, 32)),
        ("stem_channels", (8, 0, 64)),
        ("input_dim", 0),
        ("query_head_dim", 0),
        ("value_head_dim", -3),
        ("pos_head_dim", 0),
        ("memory_dim", 0),
        ("pos_dim", 47),
        ("pos_dim", 0),
        ("memory_size", -1),
        ("memory_segment", 0),
        ("memory_segment", 12),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("chunk_size", 0),
        ("chunk_size", 12),
        ("chunk_size", -8),
        ("left_context", -8),
        ("left_context", 4),
        ("max_future_frames", -1),
        # Types are checked here, too: not every configuration comes from a file.
        ("embed_dim", "512"),
        ("embed_dim", 512.0),
        ("chunk_size", 16.0),
        ("num_heads", True),
        ("max_future_frames", "whole"),
        ("name", "chunk-conformer"),
    ],
)
def test_encoder_ranges(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        EncoderConfig(**{field: value})
    assert field in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize(
    "field, value",
    [
        ("lead_in_samples", -1),
        ("lead_in_samples", 16_001),
        ("nan_policy", "ignore"),
        ("channel", "centre"),
        ("features", "mfcc"),
    ],
)
def test_audio_ranges(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"audio\.{field}"):
        AudioConfig(**{field: value})


@pytest.mark.parametrize("field", ["asr_vocab_size", "st_vocab_size"])
def test_vocabulary_sizes(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is 1"):
        SystemConfig(**{field: 1})


def test_a_multilingual_system_names_its_languages() -> None:
    for values in ({"source_language": "multilingual"}, {"source_languages": ("es", "fr")}):
        with pytest.raises(ConfigError, match="source_language is"):
            SystemConfig(**values)  # type: ignore[arg-type]


def test_errors_in_a_text_decoder_name_the_key() -> None:
    refused({"text_decoder": {"vocab_size": "many"}}, "text_decoder.vocab_size is 'many'")
    refused(
        {"text_decoder": {"alignment_heads": [[5, 1], [5, 2, 3]]}},
        "text_decoder.alignment_heads[1] is [5, 2, 3]",
    )


def test_smallest_values_are_taken() -> None:
    SystemConfig(asr_vocab_size=0, st_vocab_size=0)
    EncoderConfig(chunk_size=8, left_context=0, max_future_frames=0, memory_size=0, dropout=0.0)
    EncoderConfig(memory_segment=8, conv_kernel=1, pos_dim=2)
    AudioConfig(lead_in_samples=0)
    check_chunking(8, 0, None)


def test_scalars_name_the_widest_stack() -> None:
    """The ratios of design section 4, and by hand for the specification's numbers."""
    config = EncoderConfig(embed_dim=512, num_heads=8, ffn_dim=2048, num_layers_per_stack=3)
    assert config.widths == (192, 256, 384, 512, 384, 256)
    assert config.heads == (3, 4, 6, 8, 6, 4)
    assert config.layers == (3,) * 6
    # 2048 times 1/3, 0.475, 0.6, 1, 0.6, 0.475 in multiples of 16.
    assert config.ffn_dims == (688, 976, 1232, 2048, 1232, 976)
    assert EncoderConfig(conv_kernel=7).conv_kernels == (7,) * 6
    assert config.output_dim == 512
    small = EncoderConfig(embed_dim=8, num_heads=1, ffn_dim=16)
    assert (small.widths, small.heads, small.ffn_dims) == ((8,) * 6, (1,) * 6, (16,) * 6)


def test_six_numbers_are_taken_as_they_are() -> None:
    six = (18, 20, 30, 25, 50, 17)
    config = EncoderConfig(embed_dim=six, num_heads=six, ffn_dim=six, num_layers_per_stack=six)
    assert config.widths == config.heads == config.ffn_dims == config.layers == six
    assert config.output_dim == 50
    from_yaml = from_mapping(SystemConfig, {"encoder": {"embed_dim": list(six)}})
    assert from_yaml.encoder.widths == six


@given(st.integers(8, 4096), st.integers(1, 64), st.integers(16, 8192))
def test_scalars_bound_the_stacks(width: int, heads: int, ffn: int) -> None:
    config = EncoderConfig(embed_dim=width, num_heads=heads, ffn_dim=ffn, memory_dim=4096)
    assert max(config.widths) == config.widths[3] and abs(config.widths[3] - width) <= 4
    assert config.heads[3] == heads and all(1 <= h <= heads for h in config.heads)
    assert abs(config.ffn_dims[3] - ffn) <= 8
    assert all(w % 8 == 0 for w in config.widths) and all(f % 16 == 0 for f in config.ffn_dims)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.yaml: No such file"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *(b"a: [1, 2", b"a: b: c", b"- just\n- a list", b"a word", b"\xff\xfe\x00\x80"),
        b"[" * 3000,
    ],
    ids=len,
)
def test_files_that_are_not_a_configuration(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize(
    "fields",
    [
        # The memory has the widest stack's heads; fewer channels than heads leave none for each.
        {"memory_dim": 4, "num_heads": 8},
        # The smallest feed-forward module is 3/5 of it, rounded to a multiple of 16: none.
        {"ffn_dim": (8,) * 6},
        # Non-linear attention has 3/4 of the channels.
        {"embed_dim": (1,) * 6},
    ],
    ids=str,
)
def test_sizes_that_leave_a_module_empty(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EncoderConfig(**fields)


def test_name_chooses_the_encoder() -> None:
    values = {"encoder": {"name": "chunk-conformer", "num_layers": 3}}
    config = from_mapping(SystemConfig, values)
    assert config.encoder == ChunkConformerConfig(num_layers=3)
    assert from_mapping(SystemConfig, to_mapping(config)) == config
    assert isinstance(from_mapping(SystemConfig, {"encoder": {}}).encoder, EncoderConfig)


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ({"name": "zipfromer"}, "did you mean 'zipformer'"),
        ({"name": 3}, "expected one of zipformer, chunk-conformer"),
        ({"name": "chunk-conformer", "memory_size": 4}, "encoder.memory_size"),
        ({"name": "zipformer", "num_layers": 3}, "encoder.num_layers"),
        ({"name": "chunk-conformer", "mode": "cache"}, "cached, recompute"),
        ({"name": "chunk-conformer", "embed_dim": 30}, "multiple of 8"),
        ({"name": "chunk-conformer", "conv_kernel": 30}, "odd"),
        ({"name": "chunk-conformer", "conv_channels": 6}, "multiple of 4"),
        ("chunk-conformer", "expected keys and values"),
    ],
)
def test_encoders_are_not_mixed_up(encoder: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        from_mapping(SystemConfig, {"encoder": encoder})
