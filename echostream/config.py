"""Frozen configuration dataclasses and their YAML form.

One YAML file describes a whole system (``configs/*.yaml``). Every key has a default, every unknown
key is a :class:`ConfigError` that names the nearest known one, and every value is checked for type
and range when the dataclass is made, so that nothing wrong survives until the first audio.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from echostream.config_mapping import (
    PATH_OF_CLASS,
    EncoderKeys,
    check_types,
    from_mapping,
    read_yaml,
    require,
    require_dropout,
    require_even_heads,
    require_positive,
    to_mapping,
)
from echostream.config_whisper import TextDecoderConfig, WhisperEncoderConfig
from echostream.constants import CHANNELS, CHUNK_MULTIPLE, DOWNSAMPLING, FEATURES, NUM_MEL_BINS
from echostream.shipped import SHIPPED_CONFIGS

__all__ = [
    "AudioConfig",
    "ChunkConformerConfig",
    "DecoderConfig",
    "EncoderConfig",
    "OtherEncoderConfig",
    "PolicyConfig",
    "SystemConfig",
    "TextDecoderConfig",
    "WhisperEncoderConfig",
    "check_chunking",
    "from_mapping",
    "load_config",
    "save_config",
    "to_mapping",
]

NUM_STACKS = len(DOWNSAMPLING)

# Widths and feed-forward sizes of the six stacks relative to the widest one. The feed-forward
# ratios are close to the published (1/3, 1/2, 2/3, 1, 2/3, 1/2); the middle ones are a little
# smaller so that the specification's sizes (512, 8, 2048, 2, 4) give its 42.15M parameters.
_WIDTH_RATIOS = (3 / 8, 1 / 2, 3 / 4, 1.0, 3 / 4, 1 / 2)
_FFN_RATIOS = (1 / 3, 0.475, 0.6, 1.0, 0.6, 0.475)

PerStack = int | tuple[int, ...]


def _per_stack(name: str, value: PerStack) -> None:
    values = (value,) if isinstance(value, int) else value
    require(
        len(values) in (1, NUM_STACKS) and all(v > 0 for v in values),
        f"encoder.{name} is {value}; expected one positive number or {NUM_STACKS} of them, "
        "one for each stack",
    )


@dataclass(frozen=True)
class AudioConfig:
    """Front end: which features, and the arguments of :class:`echostream.audio.FrontEnd`."""

    lead_in_samples: int = 240
    nan_policy: str = "error"
    channel: str = "mean"
    features: str = "kaldi"

    def __post_init__(self) -> None:
        check_types(self)
        require(
            0 <= self.lead_in_samples <= 16_000,
            f"audio.lead_in_samples is {self.lead_in_samples}; expected 0 to 16000 samples",
        )
        require(
            self.nan_policy in ("error", "zero"),
            f"audio.nan_policy is {self.nan_policy!r}; expected 'error' or 'zero'",
        )
        require(
            self.channel in CHANNELS,
            f"audio.channel is {self.channel!r}; expected one of {', '.join(CHANNELS)}",
        )
        require(
            self.features in FEATURES,
            f"audio.features is {self.features!r}; expected one of {', '.join(FEATURES)}",
        )


@dataclass(frozen=True)
class EncoderConfig(EncoderKeys):
    """The streaming Zipformer, ``name: zipformer``.

    ``embed_dim``, ``num_heads``, ``ffn_dim`` and ``num_layers_per_stack`` are either six numbers,
    one for each stack, or one number that names the widest stack; the others then follow in
    proportion. ``chunk_size``, ``left_context`` and ``memory_segment`` count encoder frames
    (20 ms); ``max_future_frames`` counts frames at each stack's own rate, ``None`` being the
    whole chunk.
    """

    name: str = "zipformer"
    input_dim: int = NUM_MEL_BINS
    embed_dim: PerStack = 512
    num_heads: PerStack = 8
    ffn_dim: PerStack = 2048
    num_layers_per_stack: PerStack = 2
    conv_kernel: PerStack = (31, 31, 15, 15, 15, 31)
    query_head_dim: int = 32
    value_head_dim: int = 12
    pos_head_dim: int = 4
    pos_dim: int = 48
    stem_channels: tuple[int, ...] = (8, 32, 64)
    memory_size: int = 4
    memory_segment: int = 16
    memory_dim: int = 256
    chunk_size: int = 16
    left_context: int = 128
    max_future_frames: int | None = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embed_dim", "num_heads", "ffn_dim", "num_layers_per_stack", "conv_kernel"):
            _per_stack(name, getattr(self, name))
        require(
            all(k % 2 == 1 for k in self.conv_kernels),
            f"encoder.conv_kernel is {self.conv_kernel}; expected odd numbers",
        )
        require(
            len(self.stem_channels) == 3 and min(self.stem_channels) > 0,
            f"encoder.stem_channels is {self.stem_channels}; expected three positive numbers",
        )
        sizes = ("input_dim", "query_head_dim", "value_head_dim", "pos_head_dim", "memory_dim")
        require_positive(self, "encoder", *sizes)
        require(
            min(self.widths) >= 2,
            f"encoder.embed_dim is {self.embed_dim}; expected at least 2 channels in each stack",
        )
        require(
            min(self.ffn_dims) >= 16,
            f"encoder.ffn_dim is {self.ffn_dim}; expected at least 16 in each stack",
        )
        require(
            self.memory_dim >= max(self.heads),
            f"encoder.memory_dim is {self.memory_dim}; expected at least one channel for each of "
            f"the widest stack's {max(self.heads)} heads",
        )
        require(
            self.pos_dim > 0 and self.pos_dim % 2 == 0,
            f"encoder.pos_dim is {self.pos_dim}; expected a positive even number",
        )
        require(
            self.memory_size >= 0,
            f"encoder.memory_size is {self.memory_size}; expected 0 (no memory bank) or more",
        )
        require(
            self.memory_segment > 0 and self.memory_segment % CHUNK_MULTIPLE == 0,
            f"encoder.memory_segment is {self.memory_segment} encoder frames; expected a positive "
            f"multiple of {CHUNK_MULTIPLE}",
        )
        require_dropout(self.dropout)
        check_chunking(self.chunk_size, self.left_context, self.max_future_frames)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stack."""
        return _spread(self.embed_dim, _WIDTH_RATIOS, multiple=8)

    @property
    def heads(self) -> tuple[int, ...]:
        """Attention heads of each stack."""
        return _spread(self.num_heads, _WIDTH_RATIOS, multiple=1)

    @property
    def ffn_dims(self) -> tuple[int, ...]:
        """Hidden size of the widest of the three feed-forward modules of each stack's layers."""
        return _spread(self.ffn_dim, _FFN_RATIOS, multiple=16)

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers of each stack."""
        return _spread(self.num_layers_per_stack, (1.0,) * NUM_STACKS, multiple=1)

    @property
    def conv_kernels(self) -> tuple[int, ...]:
        """Width of the depthwise convolution of each stack, in frames at the stack's rate."""
        return _spread(self.conv_kernel, (1.0,) * NUM_STACKS, multiple=1)

    @property
    def output_dim(self) -> int:
        """Channels of the encoder output: those of the widest stack."""
        return max(self.widths)


def check_chunking(chunk_size: int, left_context: int, max_future_frames: int | None) -> None:
    """Raise :class:`ConfigError` unless the three can be used by every stack of the encoder."""
    require(
        chunk_size > 0 and chunk_size % CHUNK_MULTIPLE == 0,
        f"chunk_size is {chunk_size} encoder frames; expected a positive multiple of "
        f"{CHUNK_MULTIPLE} (160 ms), the frames that the slowest stack pools into one",
    )
    require(
        left_context >= 0 and left_context % CHUNK_MULTIPLE == 0,
        f"left_context is {left_context} encoder frames; expected 0 or a multiple of "
        f"{CHUNK_MULTIPLE} (160 ms)",
    )
    require(
        max_future_frames is None or max_future_frames >= 0,
        f"max_future_frames is {max_future_frames}; expected None (whole chunk), 0 (causal) or "
        "a positive number of frames",
    )


def _spread(value: PerStack, ratios: tuple[float, ...], multiple: int) -> tuple[int, ...]:
    if not isinstance(value, int):
        return value if len(value) == NUM_STACKS else value * NUM_STACKS
    return tuple(max(multiple, round(value * ratio / multiple) * multiple) for ratio in ratios)


CONFORMER_MODES = ("cached", "recompute")
"""How the chunk-Conformer streams: with exact caches, or from the first frame each time."""


@dataclass(frozen=True)
class ChunkConformerConfig(EncoderKeys):
    """StreamSpeech's chunk-based Conformer, the baseline, ``name: chunk-conformer``.

    ``chunk_size`` counts its encoder frames, of 40 ms as published (``subsampling: 4``) or 20 ms.
    """

    name: str = "chunk-conformer"
    input_dim: int = NUM_MEL_BINS
    embed_dim: int = 256
    ffn_dim: int = 2048
    num_layers: int = 12
    num_heads: int = 4
    conv_channels: int = 1024
    conv_kernel: int = 31
    subsampling: int = 4
    chunk_size: int = 8
    dropout: float = 0.1
    mode: str = "cached"

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("input_dim", "embed_dim", "ffn_dim", "num_layers", "num_heads")
        require_positive(self, "encoder", *sizes)
        require_even_heads(self.embed_dim, self.num_heads)
        require(
            self.conv_channels > 0 and self.conv_channels % 4 == 0,
            f"encoder.conv_channels is {self.conv_channels}; expected a positive multiple of 4",
        )
        require(
            self.conv_kernel > 0 and self.conv_kernel % 2 == 1,
            f"encoder.conv_kernel is {self.conv_kernel}; expected a positive odd number",
        )
        require(
            self.subsampling in (2, 4),
            f"encoder.subsampling is {self.subsampling}; expected 2 or 4 feature frames per "
            "encoder frame",
        )
        require_dropout(self.dropout)
        require(
            self.mode in CONFORMER_MODES,
            f"encoder.mode is {self.mode!r}; expected one of {', '.join(CONFORMER_MODES)}",
        )

    @property
    def output_dim(self) -> int:
        """Channels of the encoder output."""
        return self.embed_dim


@dataclass(frozen=True)
class OtherEncoderConfig:
    """An encoder from outside: ``name: package.module:Class``, and the arguments of the class."""

    name: str = PATH_OF_CLASS
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class DecoderConfig:
    """CTC search: a registered decoder's name, or ``package.module:Class``, and its options."""

    name: str = "greedy"
    options: dict[str, Any] = field(default_factory=dict)
    st_options: dict[str, Any] = field(default_factory=dict)
    """Those in which the search of the translation differs from that of the transcript."""

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class PolicyConfig:
    """READ/WRITE policy: a registered name, or ``package.module:Class``, and its options."""

    name: str = "ctc"
    options: dict[str, Any] = field(default_factory=dict)
    st_options: dict[str, Any] = field(default_factory=dict)
    """Those in which a translation differs from a transcript."""

    def __post_init__(self) -> None:
        check_types(self)


MULTILINGUAL = "multilingual"
"""The source language of a system that is told it for each recording."""


@dataclass(frozen=True)
class SystemConfig:
    """A whole system: what ``configs/*.yaml`` and a checkpoint's ``config.json`` hold.

    ``encoder.name`` says which encoder it is, ``zipformer`` when it is left out. The vocabulary
    sizes count SentencePiece units, without the CTC blank; 0 is a system without that head.
    ``source_languages`` are those of a system whose ``source_language`` is ``multilingual``.
    """

    source_language: str = "es"
    target_language: str = "en"
    asr_vocab_size: int = 256
    st_vocab_size: int = 256
    source_languages: tuple[str, ...] = ()
    audio: AudioConfig = field(default_factory=AudioConfig)
    encoder: EncoderConfig | ChunkConformerConfig | WhisperEncoderConfig | OtherEncoderConfig = (
        field(default_factory=EncoderConfig)
    )
    text_decoder: TextDecoderConfig | None = None
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("asr_vocab_size", "st_vocab_size"):
            value = getattr(self, name)
            require(
                value > 1 or value == 0,
                f"{name} is {value}; expected at least 2 units, or 0 for a system without that "
                "head",
            )
        require(
            bool(self.source_languages) == (self.source_language == MULTILINGUAL),
            f"source_language is {self.source_language!r} and source_languages has "
            f"{len(self.source_languages)}; expected codes there for {MULTILINGUAL!r}, and for "
            "that only",
        )


def load_config(path: str | Path) -> SystemConfig:
    """Read a :class:`SystemConfig` from a YAML file, or a shipped one by its name, as ``tiny``.

    Raises:
        ConfigError: if the file cannot be read, is not YAML, or does not describe a system.
    """
    shipped = SHIPPED_CONFIGS / f"{path}.yaml"
    is_shipped = Path(path).name == str(path) and not Path(path).exists() and shipped.is_file()
    values = read_yaml(
        shipped if is_shipped else path,
        "configuration",
        expected="a YAML file, or the name of one that comes with the package, such as tiny",
    )
    return from_mapping(SystemConfig, values or {})


def save_config(config: SystemConfig, path: str | Path) -> None:
    """Write ``config`` as YAML; :func:`load_config` gives it back."""
    text = yaml.safe_dump(to_mapping(config), sort_keys=False)
    Path(path).write_text(text, encoding="utf-8")
