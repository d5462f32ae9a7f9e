import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from echostream.audio import read_audio, stream_audio
from echostream.errors import AudioFormatError, ConfigError

from .signals import noise, speech_like

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "float": ("WAV", "FLOAT"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def written(
    folder: Path, kind: str, signal: NDArray[np.float32], rate: int = 16_000, name: str = "audio"
) -> Path:
    path = folder / f"{name}.{kind}"
    container, subtype = FORMATS[kind]
    soundfile.write(path, signal, rate, format=container, subtype=subtype)
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(tmp_path: Path, kind: str) -> None:
    signal = speech_like(1.5)
    samples, rate = read_audio(written(tmp_path, kind, signal))
    assert rate == 16_000
    assert samples.dtype == np.float32
    if kind in ("vorbis", "opus", "mp3"):
        assert abs(samples.size - signal.size) < 2000
        length = min(samples.size, signal.size)
        assert np.corrcoef(samples[:length], signal[:length])[0, 1] > 0.98
    else:
        np.testing.assert_allclose(samples, signal, atol=1 / 32768)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("segment_ms", [20, 33.3, 320, 10_000])
def test_a_streamed_file_equals_the_whole(tmp_path: Path, kind: str, segment_ms: float) -> None:
    path = written(tmp_path, kind, speech_like(1.5))
    whole, _ = read_audio(path)
    segments = list(stream_audio(path, segment_ms))
    assert {rate for _, rate in segments} == {16_000}
    np.testing.assert_array_equal(np.concatenate([samples for samples, _ in segments]), whole)
    ends = np.cumsum([samples.size for samples, _ in segments])
    expected = [int(i * segment_ms * 16) for i in range(1, len(segments))]
    np.testing.assert_array_equal(ends[:-1], expected)


def test_reading_opus_in_soundfiles_own_way_would_not_equal_the_whole(tmp_path: Path) -> None:
    # What `SequentialFile` is for; if this fails, soundfile no longer seeks and it can go.
    path = written(tmp_path, "opus", speech_like(1.5))
    blocks = []
    with soundfile.SoundFile(path) as file:
        while len(block := file.read(533, dtype="float32")):
            blocks.append(block)
    whole, _ = read_audio(path)
    assert np.abs(np.concatenate(blocks) - whole).max() > 1e-3


def test_rates_and_channels(tmp_path: Path) -> None:
    left = speech_like(0.2, 44_100)
    path = written(tmp_path, "float", np.stack((left, -0.5 * left), axis=1), 44_100)
    samples, rate = read_audio(path)
    assert rate == 44_100
    np.testing.assert_allclose(samples, 0.25 * left, atol=1e-7)
    streamed = np.concatenate([segment for segment, _ in stream_audio(path, 7)])
    np.testing.assert_array_equal(streamed, samples)


@pytest.mark.fault("F24")
@pytest.mark.parametrize("name", ["with space", "ñandú 日本", "quo'te"])
def test_names_with_spaces_and_letters_of_any_script(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "wav", speech_like(0.1), name=name)
    assert read_audio(str(path))[0].size == read_audio(path)[0].size == 1600


def test_mp3_named_wav_is_read_for_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "mp3", speech_like(1.0))
    renamed = path.rename(tmp_path / "audio.wav")
    assert read_audio(renamed)[0].size >= 16_000


def refused(path: Path, message: str) -> None:
    """Both readers refuse the file, and name it."""
    with pytest.raises(AudioFormatError, match=message) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    with pytest.raises(AudioFormatError, match=message) as caught:
        list(stream_audio(path, 100))
    assert str(path) in str(caught.value)


@pytest.mark.fault("F24")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str, kept: float) -> None:
    path = written(tmp_path, kind, speech_like(1.5))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path, "cut short|decoded|no samples")


@pytest.mark.fault("F24")
@pytest.mark.parametrize("kind", ["flac", "vorbis", "opus"])
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, speech_like(3.0))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(content)
    refused(path, "damaged|decoded")


def test_a_gap_in_ogg_vorbis_is_refused_although_its_length_agrees(tmp_path: Path) -> None:
    # libsndfile ends at the gap, says that this is the whole length, and only logs the gap.
    path = written(tmp_path, "vorbis", noise(16_000, amplitude=0.3))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    path.write_bytes(content)
    with soundfile.SoundFile(path) as file:
        assert file.read().size == file.frames
    refused(path, "with a gap")


@pytest.mark.fault("F24")
def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.wav", "No such file")
    refused(tmp_path, "directory")
    locked = written(tmp_path, "wav", speech_like(0.1))
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # the superuser may read it all the same
        refused(locked, "Permission denied")


@pytest.mark.fault("F24")
@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"hello " * 100, b"OggS", b"OggS" + b"\xff" * 60, bytes(3200)],
    ids=repr,
)
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.wav"
    path.write_bytes(content)
    refused(path, "cannot be decoded")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path, "wav", np.zeros(0, np.float32)), "holds no samples")


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    refused(written(tmp_path, "wav", np.zeros((100, 6), np.float32)), "6 channels")


def test_wrong_samples_in_a_file_are_refused(tmp_path: Path) -> None:
    signal = speech_like(0.5)
    refused(written(tmp_path, "float", signal * 32768), "32768")
    signal[6000] = np.nan
    refused(written(tmp_path, "float", signal), "sample 6000 is nan")


@pytest.mark.parametrize("segment_ms", [0, -20, 0.01, float("nan"), float("inf")])
def test_an_impossible_segment_is_refused(tmp_path: Path, segment_ms: float) -> None:
    path = written(tmp_path, "wav", speech_like(0.1))
    with pytest.raises(ConfigError, match="segment_ms"):
        next(stream_audio(path, segment_ms))
