"""The tensors of a Whisper checkpoint by the names that they have here.

Symbols: ``C`` channels.

Three layouts are known by their names: OpenAI's, Hugging Face's, CTranslate2's. The key projections
of Whisper have no bias. CTranslate2 keeps query, key and value of self-attention in one matrix
``[3C, C]``, key and value of cross-attention in one ``[2C, C]``, with zeros for the keys' bias.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from echostream.config import SystemConfig, TextDecoderConfig, WhisperEncoderConfig
from echostream.errors import CheckpointError
from echostream.model.checkpoint import OPTIONAL
from echostream.model.fitting import check_fit
from echostream.model.speech_model import SpeechModel

ENCODER, DECODER = "encoder.", "text_decoder."
POSITIONS = "encoder.positions"

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


def check_tensors(
    tensors: Mapping[str, Tensor],
    encoder: WhisperEncoderConfig,
    decoder: TextDecoderConfig,
    path: object,
) -> None:
    """Raise :class:`CheckpointError` unless the tensors are finite and those of such a model."""
    halves = SystemConfig(asr_vocab_size=0, st_vocab_size=0, encoder=encoder, text_decoder=decoder)
    with torch.device("meta"):
        state = SpeechModel(halves).state_dict()
    expected = {
        name: tensor
        for name, tensor in state.items()
        if name.startswith((ENCODER, DECODER)) and name not in OPTIONAL
    }
    what = f"{path} does not hold a Whisper model"
    check_fit(tensors, expected, what)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{what}: {name} is {tensor.dtype}; expected floating point")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{what}: {name} has values that are not finite")
