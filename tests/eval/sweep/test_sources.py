"""Recordings, lists and segments, as SimulEval has them."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import AudioFormatError, DataError
from eval.sweep import read_sources
from eval.sweep.sources import cuts


class Loader:
    """A dataloader of one recording, for SimulEval's instance."""

    def __init__(self, num_samples: int, sample_rate: int) -> None:
        self._source = list(range(num_samples))
        self._rate = sample_rate

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"source": self._source, "target": "", "tgt_lang": None}

    def get_source_audio_info(self, index: int) -> Any:
        return SimpleNamespace(samplerate=self._rate)


@settings(deadline=None, max_examples=100)
@given(
    num_samples=st.integers(1, 4000),
    sample_rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    segment_ms=st.integers(1, 700),
)
def test_cuts_are_those_of_simuleval(num_samples: int, sample_rate: int, segment_ms: int) -> None:
    instance = pytest.importorskip("simuleval.evaluator.instance").SpeechToTextInstance(
        0, Loader(num_samples, sample_rate), Namespace(eval_latency_unit="word")
    )
    sent = []
    while not instance.source_finished_reading:
        segment = instance.send_source(segment_ms)
        sent.append((segment.content, segment.finished))
    ours = [
        (list(range(start, end)), end == num_samples)
        for start, end in cuts(num_samples, sample_rate, segment_ms)
    ]
    assert ours == sent


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(1600), 16_000)
    wavs, texts = tmp_path / "wavs", tmp_path / "texts"
    wavs.write_text(f"{tmp_path}/a.wav\n{tmp_path}/b.wav  \n")
    texts.write_text("  one\ntwo words ", encoding="utf-8")
    return wavs, texts


def test_lines_are_stripped_at_their_ends(lists: tuple[Path, Path], tmp_path: Path) -> None:
    sources = read_sources(*lists)
    assert [source.reference for source in sources] == ["one", "two words"]
    assert [source.path for source in sources] == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    assert [source.index for source in sources] == [0, 1]
    assert sources[0].content == sources[1].content
    assert sources[0].length_ms == 100.0


@pytest.mark.fault("F24")
def test_a_bad_recording_is_named_with_its_line(lists: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "b.wav"
    whole = bad.read_bytes()
    for data, what in ((whole[:1000], "cut short"), (b"RIFF", "cannot be decoded")):
        bad.write_bytes(data)
        with pytest.raises(AudioFormatError, match=rf"wavs, line 2: .*b\.wav.*{what}"):
            read_sources(*lists)
    bad.unlink()
    with pytest.raises(AudioFormatError, match=r"wavs, line 2: .*b\.wav.*No such file"):
        read_sources(*lists)


def test_lists_that_do_not_fit(lists: tuple[Path, Path], tmp_path: Path) -> None:
    wavs, texts = lists
    texts.write_text("one\ntwo\nthree\n")
    with pytest.raises(DataError, match="2 lines and .* has 3"):
        read_sources(wavs, texts)
    texts.write_text("")
    with pytest.raises(DataError, match="texts: is empty"):
        read_sources(wavs, texts)
    texts.write_bytes(b"\xff\xfe one")
    with pytest.raises(DataError, match="texts.*expected UTF-8"):
        read_sources(wavs, texts)
    with pytest.raises(DataError, match="cannot read .*nowhere"):
        read_sources(tmp_path / "nowhere", texts)
