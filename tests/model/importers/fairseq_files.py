"""Small files in the layout of fairseq and of StreamSpeech's releases."""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import Tensor

from echostream.baseline import ChunkConformerEncoder
from tests.encoder.small_encoder import noise, randomise

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
PUBLISHED_IDS = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
"""How fairseq's script trains SentencePiece, so that both number the specials alike."""

SOURCE_TEXT = [
    "le chat dort sur la table du salon",
    "bonjour tout le monde et bienvenue",
    "nous partons demain pour la montagne",
    "il fait très beau ce matin à paris",
] * 20
TARGET_TEXT = [
    "the cat sleeps on the living room table",
    "hello everyone and welcome to the show",
    "we leave for the mountains tomorrow morning",
    "the weather is very nice today in town",
] * 20

EMBED_DIM = 16


def train_pieces(path: Path, text: list[str], size: int, **options: Any) -> Path:
    """A SentencePiece unigram model of ``size`` pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=size,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    path.write_bytes(model.getvalue())
    return path


def pieces_of(path: Path) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [processor.id_to_piece(index) for index in range(processor.vocab_size())]


def published_encoder() -> ChunkConformerEncoder:
    sizes = {"ffn_dim": 24, "num_layers": 2, "num_heads": 2, "conv_channels": 20, "conv_kernel": 7}
    encoder = ChunkConformerEncoder(embed_dim=EMBED_DIM, **sizes)
    randomise(encoder)
    return encoder.eval().requires_grad_(False)


@dataclass
class Release:
    """A checkpoint and the files beside it."""

    folder: Path
    model: dict[str, Tensor]
    """Of the checkpoint; change it, then :meth:`save`."""
    source_spm: Path
    target_spm: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "streamspeech.pt"

    @property
    def gcmvn(self) -> Path:
        return self.folder / "gcmvn.npz"

    def save(self, **changes: Any) -> None:
        """Write the checkpoint as ``fairseq.trainer`` does."""
        options = argparse.Namespace(chunk_size=8, arch="streamspeech", dropout=0.1)
        state = {
            "args": None,
            "cfg": {"_name": None, "model": options, "task": options, "common": {"fp16": True}},
            "model": self.model,
            "criterion": None,
            "optimizer_history": [{"criterion_name": "Criterion", "num_updates": 7}],
            "task_state": {},
            "extra_state": {"epoch": 2, "val_loss": 4.5, "train_iterator": {"shuffle": True}},
            "last_optimizer_state": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        }
        torch.save(state | changes, self.checkpoint)

    def files(self) -> dict[str, Path]:
        return {"source_spm": self.source_spm, "target_spm": self.target_spm}


def make_release(folder: Path, source_pieces: int = 44, target_pieces: int = 40) -> Release:
    """A release with vocabularies of two sizes; a part of the rest of the model is there too."""
    folder.mkdir(parents=True, exist_ok=True)
    source = train_pieces(folder / "src.model", SOURCE_TEXT, source_pieces, **PUBLISHED_IDS)
    target = train_pieces(folder / "tgt.model", TARGET_TEXT, target_pieces, **PUBLISHED_IDS)
    model = {f"encoder.{name}": t.clone() for name, t in published_encoder().state_dict().items()}
    for seed, (name, size) in enumerate(
        (("source_unigram", source_pieces), ("ctc_target_unigram", target_pieces))
    ):
        weight = noise(size, EMBED_DIM, seed=seed, dtype=torch.float32)
        model[f"{name}_decoder.proj.weight"] = weight
        model[f"{name}_decoder.proj.bias"] = noise(size, seed=seed + 9, dtype=torch.float32)
    model["target_unigram_decoder.embed_tokens.weight"] = torch.zeros(3, 2)
    model["decoder.version"] = torch.tensor([3.0])
    np.savez(
        folder / "gcmvn.npz",
        mean=np.linspace(3, 9, 80, dtype="f4"),
        std=np.linspace(1, 2, 80, dtype="f4"),
    )
    release = Release(folder, model, source, target)
    release.save()
    return release
