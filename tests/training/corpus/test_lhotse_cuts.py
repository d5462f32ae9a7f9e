"""lhotse's cuts: rows come back, lhotse agrees where it is installed."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.commands.corpus import main
from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces, read_clip
from echostream.training.corpus.lhotse_cuts import cut_of, read_cuts, write_cuts
from echostream.training.corpus.manifest import read_manifest

from .test_speech_tables import ROW

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=15)


@given(st.lists(st.tuples(text, text, st.integers(1, 10**7)), max_size=4), st.booleans())
@settings(deadline=None)
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str, int]], compressed: bool
) -> None:
    root = tmp_path_factory.getbasetemp()
    path = root / ("cuts.jsonl.gz" if compressed else "cuts.jsonl")
    rows = [
        replace(ROW, src_text=source, tgt_text=target, num_samples=size,
                seconds=round(size / 16_000, 4))
        for source, target, size in values
    ]  # fmt: skip
    write_cuts(path, rows, root)
    for clip, row in zip(read_cuts(path, "fr", "en"), rows, strict=True):
        assert clip.row(row.audio, row.num_samples) == replace(
            row, src_text=collapse_spaces(row.src_text), tgt_text=collapse_spaces(row.tgt_text)
        )
        assert (clip.path, clip.start, clip.seconds) == (root.resolve() / row.audio, 0, None)
    data = path.read_bytes()
    write_cuts(path, rows, root)
    assert path.read_bytes() == data
    assert (data[:2] == b"\x1f\x8b") == compressed
    lines = (gzip.decompress(data) if compressed else data).decode().split("\n")[:-1]
    assert len(lines) == len(rows) and all(json.loads(line)["type"] == "MonoCut" for line in lines)


def read_one(cut: dict[str, Any], root: Path, name: str = "cuts.jsonl", **options: str) -> Clip:
    (root / name).write_text(json.dumps(cut) + "\n")
    languages = {"source": "", "target": "", **options}
    (clip,) = read_cuts(root / name, **languages)
    return clip


def test_a_plain_cut_of_somebody_else(tmp_path: Path) -> None:
    """Four seconds of 24 kHz on three channels, of which a part of the second is heard."""
    waves = np.stack([np.full(96_000, (channel + 1) / 10) for channel in range(3)], axis=1)
    waves[:, 1] += np.arange(96_000) / 1e6
    soundfile.write(tmp_path / "call.flac", waves, 24_000)
    cut = cut_of(ROW, tmp_path)
    del cut["custom"], cut["supervisions"][0]["speaker"]
    cut |= {"start": 1.5, "duration": 2.0, "channel": 5, "id": "call/7"}
    cut["recording"] |= {
        "sources": [
            {"type": "file", "channels": [0], "source": "other.flac"},
            {"type": "file", "channels": [4, 5, 6], "source": "call.flac"},
        ],
        "sampling_rate": 24_000,
        "num_samples": 96_000,
        "duration": 4.0,
    }
    spoken = cut["supervisions"][0]
    spoken |= {"channel": 5, "start": 0.25, "duration": 1.75}
    spoken["custom"] = {"translated_text": {"en": "Hi.", "de": "Na."}}
    clip = read_one(
        cut, tmp_path, "my_cuts_valid.jsonl", target="de", translation="translated_text"
    )
    assert (clip.id, clip.corpus, clip.split, clip.tgt_text) == ("call_7", "lhotse", "dev", "Na.")
    assert (clip.speaker, clip.src_lang, clip.tgt_lang) == ("", "fr", "de")
    samples, rate = read_clip(clip)
    assert rate == 24_000
    np.testing.assert_allclose(samples, waves[36_000:84_000, 1], atol=1e-4)
    arguments = ["import", "lhotse", str(tmp_path), "--target", "de", "--splits", "dev"]
    arguments += ["--translation", "translated_text", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    (row,) = read_manifest(tmp_path / "out/manifest.tsv")
    assert (row.num_samples, row.split) == (32_000, "dev")


FAULTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "type": (("type",), "MixedCut"),
    "supervisions": (("supervisions",), []),
    "supervision.start": (("supervisions", "0", "start"), -0.5),
    "supervision.start and .duration": (("supervisions", "0", "duration"), 1.5),
    "supervision.channel": (("supervisions", "0", "channel"), 1),
    "recording.sources": (("recording", "sources", "0", "channels"), [1]),
    "'url'": (("recording", "sources", "0", "type"), "url"),
    "recording.transforms": (("recording", "transforms"), [{"name": "Speed", "kwargs": {}}]),
    "custom.split": (("custom", "split"), "valid"),
    "'tempo'": (("tempo",), 1.1),
    "'offset'": (("supervisions", "0", "offset"), 2),
    "language": (("supervisions", "0", "language"), "es"),
    "translation_language": (("supervisions", "0", "custom", "translation_language"), "de"),
    "--translation": (("supervisions", "0", "custom"), {}),
    "recording": (("recording",), None),
}


@pytest.mark.parametrize("field", FAULTS)
def test_what_is_not_honoured_is_refused_by_its_name(tmp_path: Path, field: str) -> None:
    cut = cut_of(ROW, tmp_path)
    read_one(cut, tmp_path, source="fr", target="en")
    (*path, last), value = FAULTS[field]
    place: Any = cut
    for part in path:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    with pytest.raises(DataError, match="'asterisk-vm-red' cannot be used") as caught:
        read_one(cut, tmp_path, source="fr", target="en")
    assert field in str(caught.value) or field == "recording"


def test_a_file_is_what_its_cut_says(tmp_path: Path) -> None:
    audio = tmp_path / ROW.audio
    audio.parent.mkdir(parents=True)
    soundfile.write(audio, np.zeros(16_000), 8_000)
    with pytest.raises(DataError, match="has 8000 Hz; the corpus says 16000 Hz of vm-red"):
        read_clip(read_one(cut_of(ROW, tmp_path), tmp_path))
    soundfile.write(audio, np.zeros((16_000, 3)), 16_000)
    clip = read_one(cut_of(ROW, tmp_path), tmp_path)
    assert read_clip(clip)[0].shape == (16_000,)
    for channel in (None, 3):
        with pytest.raises(DataError, match="has 3 channels"):
            read_clip(replace(clip, channel=channel))


@pytest.mark.parametrize("content", [b"{", b"\xff", b"\x1f\x8bxx", b"[1]"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    name = "a.jsonl.gz" if content.startswith(b"\x1f") else "a.jsonl"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        read_cuts(tmp_path / name, "fr", "en")
