"""Configuration of Whisper's two halves: the streaming encoder and the text decoder."""

from dataclasses import dataclass

from echostream.config_mapping import (
    EncoderKeys,
    check_types,
    require,
    require_even_heads,
    require_positive,
)
from echostream.constants import CHUNK_MULTIPLE, NUM_MEL_BINS


@dataclass(frozen=True)
class WhisperEncoderConfig(EncoderKeys):
    """Whisper's encoder with chunk-causal attention, ``name: whisper``.

    ``chunk_size``, ``right_context``, ``max_positions``, ``window_stride`` and ``window_overlap``
    count encoder frames (20 ms). A chunk is encoded once ``right_context`` frames behind it are
    there, which its frames see, too. Positions end at ``max_positions``, so the encoder starts over
    every ``window_stride`` frames; the next window is encoded beside the current one during its
    last ``window_overlap`` frames, so that no frame is without left context.
    """

    name: str = "whisper"
    input_dim: int = NUM_MEL_BINS
    embed_dim: int = 512
    num_layers: int = 6
    num_heads: int = 8
    ffn_dim: int = 2048
    max_positions: int = 1500
    chunk_size: int = 32
    right_context: int = 0
    window_stride: int = 960
    window_overlap: int = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            self, "encoder", "input_dim", "embed_dim", "num_layers", "num_heads", "ffn_dim"
        )
        require_even_heads(self.embed_dim, self.num_heads)
        require(
            self.chunk_size > 0 and self.chunk_size % CHUNK_MULTIPLE == 0,
            f"encoder.chunk_size is {self.chunk_size} encoder frames; expected a positive multiple "
            f"of {CHUNK_MULTIPLE} (160 ms)",
        )
        require(
            0 <= self.window_overlap <= self.window_stride and self.window_stride > 0,
            f"encoder.window_stride is {self.window_stride} and encoder.window_overlap "
            f"{self.window_overlap}; expected a stride that is a multiple of the overlap",
        )
        longest = self.max_positions - self.window_stride - self.window_overlap
        require(
            0 <= self.right_context <= longest,
            f"encoder.right_context is {self.right_context}; expected 0 to {longest} frames, what "
            f"encoder.max_positions, {self.max_positions}, leaves behind encoder.window_stride and "
            "encoder.window_overlap",
        )

    @property
    def output_dim(self) -> int:
        """Channels of the encoder output."""
        return self.embed_dim


@dataclass(frozen=True)
class TextDecoderConfig:
    """An autoregressive transformer decoder, pre-norm, with tied embeddings.

    ``max_tokens`` is the number of token positions, ``max_source`` the number of encoder frames
    that it can look at. ``alignment_heads`` are the (layer, head) pairs whose cross-attention
    follows the audio. ``activation`` is ``gelu`` (Whisper) or ``relu`` (fairseq), and
    ``embed_scale`` is what embeddings of the input are multiplied by, not those of the output.
    ``source_dim`` are the channels of an encoder whose frames are mapped to ``embed_dim`` first; 0
    is an encoder of as many channels, whose frames are taken as they are. ``voice_activity`` is
    whether it has a head that tells frames with speech.
    """

    vocab_size: int = 51865
    embed_dim: int = 512
    num_layers: int = 6
    num_heads: int = 8
    ffn_dim: int = 2048
    max_tokens: int = 448
    max_source: int = 1500
    alignment_heads: tuple[tuple[int, int], ...] = ()
    activation: str = "gelu"
    embed_scale: float = 1.0
    source_dim: int = 0
    voice_activity: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        require_positive(
            self,
            "text_decoder",
            *("vocab_size", "embed_dim", "num_layers", "num_heads", "ffn_dim"),
            *("max_tokens", "max_source"),
        )
        require(
            self.activation in ("gelu", "relu"),
            f"text_decoder.activation is {self.activation!r}; expected gelu or relu",
        )
        require(
            self.source_dim >= 0,
            f"text_decoder.source_dim is {self.source_dim}; expected the channels of the encoder, "
            "or 0 for as many as text_decoder.embed_dim",
        )
        require(
            self.embed_dim % self.num_heads == 0,
            f"text_decoder.embed_dim is {self.embed_dim}; expected a multiple of "
            f"text_decoder.num_heads, {self.num_heads}",
        )
        require(
            all(
                0 <= layer < self.num_layers and 0 <= head < self.num_heads
                for layer, head in self.alignment_heads
            ),
            f"text_decoder.alignment_heads are {self.alignment_heads}; expected pairs of a layer "
            f"below {self.num_layers} and a head below {self.num_heads}",
        )
