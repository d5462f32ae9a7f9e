"""Small corpora and lists of recordings for the programs that measure."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.training.corpus.manifest import ManifestRow, write_manifest
from eval.sweep import Source, read_sources
from tests.small_system import audio


def write_corpus(
    folder: Path, recordings: Iterable[tuple[NDArray[Any], str, str]], **more: Sequence[str]
) -> None:
    """A manifest of recordings with their source and target texts; ``more`` has fields of all."""
    rows = []
    for number, (samples, source, target) in enumerate(recordings):
        name, length = f"{number}.wav", len(samples)
        soundfile.write(folder / name, samples, SAMPLE_RATE, "FLOAT")
        fields = {"corpus": "c", "split": "test", "speaker": "a"}
        fields |= {field: values[number] for field, values in more.items()}
        row = ManifestRow(
            id=str(number),
            audio=name,
            num_samples=length,
            seconds=length / SAMPLE_RATE,
            src_lang="es",
            tgt_lang="en",
            src_text=source,
            tgt_text=target,
            licence="none",
            **fields,
        )
        rows.append(row)
    write_manifest(folder / "manifest.tsv", rows)


def listed(folder: Path, seconds: Sequence[float], texts: Sequence[str]) -> list[Source]:
    """Made-up recordings and their texts, by ``wav_list`` and ``references`` in the folder."""
    for number, length in enumerate(seconds):
        soundfile.write(folder / f"{number}.wav", audio(length, number), SAMPLE_RATE)
    paths = [f"{folder / str(number)}.wav\n" for number in range(len(seconds))]
    (folder / "wav_list").write_text("".join(paths))
    (folder / "references").write_text("".join(f"{text}\n" for text in texts))
    return read_sources(folder / "wav_list", folder / "references")
