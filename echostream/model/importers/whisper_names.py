"""The tensors of a Whisper checkpoint by the names that they have here.

Symbols: ``C`` channels, ``F`` of a feed-forward module, ``M`` mel bins, ``V`` tokens, ``S`` encoder
positions, ``P`` token positions.

Three layouts are known by their names: OpenAI's, Hugging Face's, CTranslate2's. The key projections
of Whisper have no bias. CTranslate2 keeps query, key and value of self-attention in one matrix
``[3C, C]``, key and value of cross-attention in one ``[2C, C]``, with zeros for the keys' bias.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from echostream.config import TextDecoderConfig, WhisperEncoderConfig
from echostream.errors import CheckpointError

ENCODER, DECODER = "encoder.", "text_decoder."
POSITIONS = "encoder.positions"
_SHOWN = 8

# Each a pattern and what it becomes, tried in order on what the ones before have left.
_Rules = tuple[tuple[str, str], ...]

_OPENAI: _Rules = (
    (r"^decoder\.", DECODER),
    (r"\.blocks\.", ".layers."),
    (r"\.positional_embedding$", ".positions"),
    (r"\.token_embedding\.", ".embedding."),
    (r"^encoder\.ln_post\.|^text_decoder\.ln\.", "<half>norm."),
    (r"(layers\.\d+\.)attn_ln\.", r"\1<own>norm."),
    (r"(layers\.\d+\.)attn\.", r"\1<own>"),
    (r"(layers\.\d+\.)cross_attn_ln\.", r"\1cross_norm."),
    (r"(layers\.\d+\.)cross_attn\.", r"\1cross_"),
    (r"(layers\.\d+\.)mlp_ln\.", r"\1ffn_norm."),
    (r"(layers\.\d+\.)mlp\.0\.", r"\1ffn_in."),
    (r"(layers\.\d+\.)mlp\.2\.", r"\1ffn_out."),
)
_HUGGING_FACE: _Rules = (
    (r"^model\.encoder\.", ENCODER),
    (r"^model\.decoder\.", DECODER),
    (r"\.embed_positions\.weight$", ".positions"),
    (r"\.embed_tokens\.", ".embedding."),
    (r"^(encoder|text_decoder)\.layer_norm\.", "<half>norm."),
    (r"(layers\.\d+\.)self_attn_layer_norm\.", r"\1<own>norm."),
    (r"(layers\.\d+\.)self_attn\.([qkv])_proj\.", r"\1<own>\2."),
    (r"(layers\.\d+\.)self_attn\.out_proj\.", r"\1<own>out."),
    (r"(layers\.\d+\.)encoder_attn_layer_norm\.", r"\1cross_norm."),
    (r"(layers\.\d+\.)encoder_attn\.([qkv])_proj\.", r"\1cross_\2."),
    (r"(layers\.\d+\.)encoder_attn\.out_proj\.", r"\1cross_out."),
    (r"(layers\.\d+\.)final_layer_norm\.", r"\1ffn_norm."),
    (r"(layers\.\d+\.)fc1\.", r"\1ffn_in."),
    (r"(layers\.\d+\.)fc2\.", r"\1ffn_out."),
    (r"(<own>|cross_)q\.", r"\1query."),
    (r"(<own>|cross_)k\.", r"\1key."),
    (r"(<own>|cross_)v\.", r"\1value."),
)
_CTRANSLATE2: _Rules = (
    (r"/", "."),
    (r"^decoder\.", DECODER),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"\.position_encodings\.encodings$", ".positions"),
    (r"\.embeddings\.", ".embedding."),
    (r"^(encoder|text_decoder)\.layer_norm\.", "<half>norm."),
    (r"\.layer_(\d+)\.", r".layers.\1."),
    (r"\.self_attention\.layer_norm\.", ".<own>norm."),
    (r"\.self_attention\.linear_1\.", ".<own>out."),
    (r"\.self_attention\.(query|key|value)\.", r".<own>\1."),
    (r"\.attention\.layer_norm\.", ".cross_norm."),
    (r"\.attention\.linear_0\.", ".cross_query."),
    (r"\.attention\.linear_2\.", ".cross_out."),
    (r"\.attention\.(query|key|value)\.", r".cross_\1."),
    (r"\.ffn\.layer_norm\.", ".ffn_norm."),
    (r"\.ffn\.linear_0\.", ".ffn_in."),
    (r"\.ffn\.linear_1\.", ".ffn_out."),
)


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by their names here.

    Raises:
        CheckpointError: if the names are of none of the three layouts.
    """
    renamed = _renamed(tensors)
    if POSITIONS not in renamed:
        raise CheckpointError(
            f"none of the {len(tensors)} tensors ({', '.join(list(tensors)[:3])} ...) is the "
            "encoder's positions; expected a Whisper model as OpenAI, Hugging Face or CTranslate2 "
            "stores it"
        )
    return renamed


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if any(name.startswith("model.encoder.") for name in tensors):
        return {
            _apply(_HUGGING_FACE, name): tensor
            for name, tensor in tensors.items()
            if name != "proj_out.weight"  # the embedding, a second time
        }
    if any(name.startswith("encoder/") for name in tensors):
        return {_apply(_CTRANSLATE2, name): t for name, t in _unfused(tensors).items()}
    return {_apply(_OPENAI, name): tensor for name, tensor in tensors.items()}


def _apply(rules: _Rules, name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement.replace("<half>", _half(name)), name)
    is_encoder = name.startswith(ENCODER)
    norm = "attention_norm." if is_encoder else "self_norm."
    return name.replace("<own>norm.", norm).replace("<own>", "" if is_encoder else "self_")


def _half(name: str) -> str:
    return ENCODER if name.startswith(ENCODER) else DECODER


def _unfused(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CTranslate2's tensors with each projection by itself, settings (scalars) left out."""
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and tensor.numel() == 1:
            continue
        own = re.fullmatch(r"(.*/self_attention/)linear_0(/.*)", name)
        cross = re.fullmatch(r"(.*/attention/)linear_1(/.*)", name)
        match = own or cross
        if match is None:
            split[name] = tensor
            continue
        projections = ("query", "key", "value") if own else ("key", "value")
        if tensor.dim() == 0 or len(tensor) % len(projections):
            raise CheckpointError(
                f"{name} has shape {tuple(tensor.shape)}; expected {' and '.join(projections)} "
                "below each other"
            )
        before, after = match.groups()
        for projection, part in zip(projections, tensor.chunk(len(projections)), strict=True):
            if projection == "key" and after == "/bias":
                if bool(part.any()):
                    raise CheckpointError(
                        f"{name} has a bias of the keys that is not zero; expected none, as in "
                        "every Whisper model"
                    )
                continue
            split[f"{before}{projection}{after}"] = part
    return split


def shapes(encoder: WhisperEncoderConfig, decoder: TextDecoderConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model, by own name."""
    c = encoder.embed_dim
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, *shape: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = shape
        if bias:
            found[f"{name}.bias"] = shape[:1]

    def attention(start: str, norm: str, prefix: str) -> None:
        linear(f"{start}{norm}", c)
        for part in ("query", "key", "value", "out"):
            linear(f"{start}{prefix}{part}", c, c, bias=part != "key")

    def feed_forward(start: str, width: int) -> None:
        linear(f"{start}ffn_norm", c)
        linear(f"{start}ffn_in", width, c)
        linear(f"{start}ffn_out", c, width)

    linear("encoder.conv1", c, encoder.input_dim, 3)
    linear("encoder.conv2", c, c, 3)
    for i in range(encoder.num_layers):
        attention(f"encoder.layers.{i}.", "attention_norm", "")
        feed_forward(f"encoder.layers.{i}.", encoder.ffn_dim)
    for i in range(decoder.num_layers):
        attention(f"text_decoder.layers.{i}.", "self_norm", "self_")
        attention(f"text_decoder.layers.{i}.", "cross_norm", "cross_")
        feed_forward(f"text_decoder.layers.{i}.", decoder.ffn_dim)
    linear("encoder.norm", c)
    linear("text_decoder.norm", c)
    linear("text_decoder.embedding", decoder.vocab_size, c, bias=False)
    found[POSITIONS] = (encoder.max_positions, c)
    found["text_decoder.positions"] = (decoder.max_tokens, c)
    return found


def check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], path: object
) -> None:
    """Raise :class:`CheckpointError` unless the tensors are finite and as expected."""
    problems: list[str] = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in expected]
    checks: tuple[tuple[Callable[[Tensor, tuple[int, ...]], bool], str], ...] = (
        (lambda t, shape: tuple(t.shape) == shape, "shape {found}, expected {shape}"),
        (lambda t, _: t.is_floating_point(), "{dtype}, expected float16 or float32"),
        (lambda t, _: bool(torch.isfinite(t).all()), "values that are not finite"),
    )
    for name, shape in expected.items():
        if name not in tensors:
            continue
        tensor = tensors[name]
        for holds, text in checks:
            if not holds(tensor, shape):
                what = text.format(found=tuple(tensor.shape), shape=shape, dtype=tensor.dtype)
                problems.append(f"{name}: {what}")
                break
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CheckpointError(
            f"{path} does not hold a Whisper model: {'; '.join(problems[:_SHOWN])}{more}"
        )
