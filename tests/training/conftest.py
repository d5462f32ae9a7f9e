"""A corpus of ten short recordings of noise, and systems small enough to train in a moment."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.config import ChunkConformerConfig, EncoderConfig, SystemConfig, save_config
from echostream.training.corpus.manifest import ManifestRow, write_manifest

ROW = ManifestRow("x", "c", "train", "a.wav", 16_000, 1.0, "s", "es", "en", "uno", "one", "none")
WORDS = ("uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez")

ZIPFORMER = SystemConfig(
    asr_vocab_size=18,
    st_vocab_size=18,
    encoder=EncoderConfig(
        embed_dim=(16,) * 6,
        num_heads=2,
        ffn_dim=(32,) * 6,
        num_layers_per_stack=1,
        stem_channels=(2, 4, 4),
        memory_dim=16,
    ),
)
CONFORMER = dataclasses.replace(
    ZIPFORMER,
    encoder=ChunkConformerConfig(
        embed_dim=16, ffn_dim=32, num_layers=2, num_heads=2, conv_channels=16
    ),
)


def make_corpus(folder: Path) -> Path:
    """Eight recordings to train on and two for development, 0.5 to 1.1 s long."""
    chance = np.random.default_rng(1)
    rows = []
    for number in range(10):
        length = 8_000 + 1_000 * number
        soundfile.write(folder / f"{number}.wav", 0.1 * chance.standard_normal(length), 16_000)
        text = " ".join((WORDS * 2)[number : number + 4])
        rows.append(
            dataclasses.replace(
                ROW,
                id=str(number),
                split="dev" if number >= 8 else "train",
                audio=f"{number}.wav",
                num_samples=length,
                seconds=length / 16_000,
                src_text=text,
                tgt_text=text[::-1],
            )
        )
    write_manifest(folder / "manifest.tsv", rows)
    save_config(ZIPFORMER, folder / "zipformer.yaml")
    save_config(CONFORMER, folder / "conformer.yaml")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The corpus and the systems' configurations, in a folder of its own."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    return make_corpus(folder)


@pytest.fixture(scope="module")
def shared_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``corpus``, for all tests of a module; not to be changed."""
    return make_corpus(tmp_path_factory.mktemp("corpus"))
