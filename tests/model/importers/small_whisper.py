"""A small Whisper model in the three layouts, written without the package's help.

Its tensors are named as here; the table says what the others call them.
"""

import base64
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

C, F, MELS, POSITIONS, MAX_TOKENS = 8, 12, 5, 40, 7
LAYERS = {"encoder": 2, "text_decoder": 3}
HEADS = {"encoder": 2, "text_decoder": 4}

PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = [*PRINTABLE, *(b for b in range(256) if b not in PRINTABLE)]
_CODES = """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur
    hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si
    km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha
    ba jw su
"""
CODES = _CODES.split()
NUM_TIMES = 1501
SPECIAL = [
    *("<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in CODES)),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
    *("<|notimestamps|>", *(f"<|{n / 50:.2f}|>" for n in range(NUM_TIMES))),
]
TEXT = [*(bytes([b]) for b in BYTES), b" t", b"he", b" the"]
V = len(TEXT) + len(SPECIAL)

# own, OpenAI, Hugging Face, CTranslate2; {i} is the layer, both weight and bias are meant.
NORM, FIRST = "layer_norm", "self_attention/linear_0"
ENCODER_PARTS = (
    ("attention_norm", "attn_ln", "self_attn_layer_norm", "self_attention/layer_norm"),
    ("query", "attn.query", "self_attn.q_proj", "q of self_attention/linear_0"),
    ("key", "attn.key", "self_attn.k_proj", "k of self_attention/linear_0"),
    ("value", "attn.value", "self_attn.v_proj", "v of self_attention/linear_0"),
    ("out", "attn.out", "self_attn.out_proj", "self_attention/linear_1"),
    ("ffn_norm", "mlp_ln", "final_layer_norm", "ffn/layer_norm"),
    ("ffn_in", "mlp.0", "fc1", "ffn/linear_0"),
    ("ffn_out", "mlp.2", "fc2", "ffn/linear_1"),
)
DECODER_PARTS = (
    *((f"self_{own.removeprefix('attention_')}", *rest) for own, *rest in ENCODER_PARTS[:5]),
    ("cross_norm", "cross_attn_ln", "encoder_attn_layer_norm", "attention/layer_norm"),
    ("cross_query", "cross_attn.query", "encoder_attn.q_proj", "attention/linear_0"),
    ("cross_key", "cross_attn.key", "encoder_attn.k_proj", "k of attention/linear_1"),
    ("cross_value", "cross_attn.value", "encoder_attn.v_proj", "v of attention/linear_1"),
    ("cross_out", "cross_attn.out", "encoder_attn.out_proj", "attention/linear_2"),
    *ENCODER_PARTS[5:],
)
TOP = (
    ("encoder.conv1", "encoder.conv1", "model.encoder.conv1", "encoder/conv1"),
    ("encoder.conv2", "encoder.conv2", "model.encoder.conv2", "encoder/conv2"),
    ("encoder.norm", "encoder.ln_post", "model.encoder.layer_norm", "encoder/layer_norm"),
    ("text_decoder.norm", "decoder.ln", "model.decoder.layer_norm", "decoder/layer_norm"),
)
SINGLE = (
    (
        "encoder.positions",
        "encoder.positional_embedding",
        "model.encoder.embed_positions.weight",
        "encoder/position_encodings/encodings",
    ),
    (
        "text_decoder.positions",
        "decoder.positional_embedding",
        "model.decoder.embed_positions.weight",
        "decoder/position_encodings/encodings",
    ),
    (
        "text_decoder.embedding.weight",
        "decoder.token_embedding.weight",
        "model.decoder.embed_tokens.weight",
        "decoder/embeddings/weight",
    ),
)
STARTS = {
    "encoder": (
        "encoder.layers.{i}.",
        "encoder.blocks.{i}.",
        "model.encoder.layers.{i}.",
        "encoder/layer_{i}/",
    ),
    "text_decoder": (
        "text_decoder.layers.{i}.",
        "decoder.blocks.{i}.",
        "model.decoder.layers.{i}.",
        "decoder/layer_{i}/",
    ),
}


def table() -> list[tuple[str, str, str, str]]:
    """All modules, by the four names."""
    rows = list(TOP)
    for half, parts in (("encoder", ENCODER_PARTS), ("text_decoder", DECODER_PARTS)):
        for i in range(LAYERS[half]):
            own, openai, hf, ct2 = (start.format(i=i) for start in STARTS[half])
            for a, b, c, d in parts:
                fused, _, name = d.rpartition(" of ")
                rows.append(
                    (own + a, openai + b, hf + c, f"{fused} of {ct2}{name}" if fused else ct2 + d)
                )
    return rows


def tensors() -> dict[str, Tensor]:
    """All weights by own names; float16 can hold them."""
    torch.manual_seed(3)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.positions": (POSITIONS, C),
        "text_decoder.positions": (MAX_TOKENS, C),
        "text_decoder.embedding.weight": (V, C),
    }
    for own, *_ in table():
        last = own.rpartition(".")[2]
        width = {"conv1": (C, MELS, 3), "conv2": (C, C, 3), "ffn_in": (F, C), "ffn_out": (C, F)}
        shape = (C,) if last.endswith("norm") else width.get(last, (C, C))
        shapes[f"{own}.weight"] = shape
        if not last.endswith("key"):
            shapes[f"{own}.bias"] = shape[:1]
    return {name: torch.randn(shape).half().float() for name, shape in shapes.items()}


def renamed(own: Mapping[str, Tensor], column: int) -> dict[str, Tensor]:
    """By the names of OpenAI (1) or Hugging Face (2)."""
    names = {row[0]: row[column] for row in SINGLE}
    for row in table():
        names |= {f"{row[0]}.{kind}": f"{row[column]}.{kind}" for kind in ("weight", "bias")}
    return {names[name]: tensor for name, tensor in own.items()}


def write_openai(folder: Path, own: Mapping[str, Tensor], name: str = "small.own.pt") -> Path:
    dims = {"n_mels": MELS, "n_audio_ctx": POSITIONS, "n_audio_state": C, "n_vocab": V}
    dims |= {"n_audio_head": HEADS["encoder"], "n_text_head": HEADS["text_decoder"]}
    torch.save({"dims": dims, "model_state_dict": renamed(own, 1)}, folder / name)
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(TEXT))
    (folder / "multilingual.tiktoken").write_text("".join(lines))
    return folder


def written(token: bytes) -> str:
    """As GPT-2 writes bytes."""
    return "".join(chr(b) if b in PRINTABLE else chr(256 + BYTES.index(b) - 188) for b in token)


def write_hugging_face(folder: Path, own: Mapping[str, Tensor]) -> Path:
    stored = renamed(own, 2)
    stored["proj_out.weight"] = stored["model.decoder.embed_tokens.weight"].clone()
    safetensors.torch.save_file(stored, folder / "model.safetensors")
    heads = {"encoder_attention_heads": HEADS["encoder"], "decoder_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps({**heads, "suppress_tokens": None}))
    generation = {"alignment_heads": [[1, 0], [2, 3]], "suppress_tokens": [1, 2]}
    generation["begin_suppress_tokens"] = [220, len(TEXT)]  # type: ignore[assignment]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    vocab = {written(token): i for i, token in enumerate(TEXT)}
    added = [{"id": len(TEXT) + i, "content": name} for i, name in enumerate(SPECIAL)]
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": vocab}, "added_tokens": added})
    )
    return folder


def fused(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names of CTranslate2, projections of one input below each other."""
    stored = {row[3]: own[row[0]] for row in SINGLE}
    groups: dict[str, dict[str, str]] = {}
    for name, _, _, ct2 in table():
        letter, _, module = ct2.rpartition(" of ")
        if letter:
            groups.setdefault(module, {})[letter] = name
            continue
        kinds = ("gamma", "beta") if name.endswith("norm") else ("weight", "bias")
        for kind, theirs in zip(("weight", "bias"), kinds, strict=True):
            stored[f"{ct2}/{theirs}"] = own[f"{name}.{kind}"]
    for module, names in groups.items():
        order = [names[letter] for letter in "qkv" if letter in names]
        stored[f"{module}/weight"] = torch.cat([own[f"{n}.weight"] for n in order])
        biases = [own.get(f"{n}.bias", torch.zeros(C)) for n in order]
        stored[f"{module}/bias"] = torch.cat(biases)
    for half, theirs in (("encoder", "encoder"), ("text_decoder", "decoder")):
        stored[f"{theirs}/num_heads"] = torch.tensor(HEADS[half], dtype=torch.int16)
    return stored


TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.float16: 4}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def binary(stored: Mapping[str, Tensor], version: int = 6) -> bytes:
    """A ``model.bin``."""
    parts = [struct.pack("<I", version), string("WhisperSpec"), struct.pack("<II", 3, len(stored))]
    for name, tensor in sorted(stored.items()):
        data = tensor.contiguous().numpy().tobytes()
        shape = struct.pack(f"<B{tensor.dim()}I", tensor.dim(), *tensor.shape)
        kind = struct.pack("<BI", TYPES[tensor.dtype], len(data))
        parts += [string(name), shape, kind, data]
    alias = string("decoder/projection/weight") + string("decoder/embeddings/weight")
    return b"".join([*parts, struct.pack("<I", 1), alias])


def write_ctranslate2(
    folder: Path, own: Mapping[str, Tensor], dtype: torch.dtype = torch.float16
) -> Path:
    stored = {n: t.to(dtype) if t.is_floating_point() else t for n, t in fused(own).items()}
    (folder / "model.bin").write_bytes(binary(stored))
    config: dict[str, Any] = {"alignment_heads": [[1, 0], [2, 3]], "suppress_ids": [1, 2]}
    config["suppress_ids_begin"] = [220, len(TEXT)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocabulary.json").write_text(json.dumps([*map(written, TEXT), *SPECIAL]))
    return folder
