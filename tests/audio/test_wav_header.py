"""WAV files whose header and content disagree: read to the end, or refused with both numbers."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.audio import read_audio, stream_audio
from echostream.errors import AudioFormatError

from .signals import speech_like

PCM = np.round(speech_like(1.0) * 32768).astype("<i2")
DATA = PCM.tobytes()
EXPECTED = PCM.astype(np.float32) / 32768
UNKNOWN = 0xFFFF_FFFF


def chunk(name: bytes, content: bytes, stated: int | None = None, *, padded: bool = True) -> bytes:
    length = len(content) if stated is None else stated
    return name + struct.pack("<I", length) + content + b"\0" * (padded and len(content) % 2)


def wav(*chunks: bytes, riff: int | None = None) -> bytes:
    body = b"WAVE" + b"".join((FORMAT, *chunks))
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


FORMAT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))
COMMENT = chunk(b"LIST", b"INFOICMT\x04\0\0\0abcd")
ODD = (b"LIST", b"INFOICMT\x05\0\0\0abcde")

READABLE = {
    "as it should be": wav(chunk(b"data", DATA)),
    "samples said to be none": wav(chunk(b"data", DATA, 0)),
    "samples and whole said to be none": wav(chunk(b"data", DATA, 0), riff=36),
    "header of zeros": wav(chunk(b"data", DATA, 0), riff=0),
    "header written half way": wav(chunk(b"data", DATA, 16_000), riff=16_036),
    "half the samples in a whole": wav(chunk(b"data", DATA, 16_000)),
    "whole said to be 8 bytes longer": wav(chunk(b"data", DATA), riff=32_044),
    "whole said to be short": wav(chunk(b"data", DATA), riff=1000),
    "samples said to be 1 byte longer": wav(chunk(b"data", DATA, 32_001)),
    "samples and header counted as samples": wav(chunk(b"data", DATA, 32_044)),
    "from a pipe": wav(chunk(b"data", DATA, UNKNOWN), riff=UNKNOWN),
    "from a pipe, header counted": wav(chunk(b"data", DATA, UNKNOWN - 36), riff=UNKNOWN),
    "from a pipe, 31 bits": wav(chunk(b"data", DATA, 0x7FFF_FFFF), riff=UNKNOWN),
    "odd chunk before": wav(chunk(*ODD), chunk(b"data", DATA)),
    "odd chunk before, not padded": wav(chunk(*ODD, padded=False), chunk(b"data", DATA)),
    "odd chunk before a pipe": wav(chunk(*ODD, padded=False), chunk(b"data", DATA, UNKNOWN)),
    "odd number of bytes": wav(chunk(b"data", DATA + b"\1", padded=False)),
    "odd number of bytes and a comment": wav(chunk(b"data", DATA + b"\1", padded=False), COMMENT),
    "comment behind": wav(chunk(b"data", DATA), COMMENT),
    "tag of a music player behind": wav(chunk(b"data", DATA)) + b"ID3\4" + bytes(500),
    "a few bytes behind": wav(chunk(b"data", DATA)) + b"\1\2\3" * 7,
}


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE.keys())
def test_all_samples_are_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "audio.wav"
    path.write_bytes(content)
    samples, rate = read_audio(path)
    assert rate == 16_000
    np.testing.assert_array_equal(samples, EXPECTED)
    streamed = np.concatenate([piece for piece, _ in stream_audio(path, 33.3)])
    np.testing.assert_array_equal(streamed, EXPECTED)


REFUSED = {
    "cut short": (wav(chunk(b"data", DATA))[:-800], "31200 of 32000 bytes"),
    "both lengths 2 bytes too long": (wav(chunk(b"data", DATA, 32_002), riff=32_038), "of 32002"),
    "empty": (wav(chunk(b"data", b"")), "holds no samples"),
    "empty, with a comment": (wav(chunk(b"data", b""), COMMENT), "holds no samples"),
    "no samples at all": (wav(), "cannot be decoded"),
    "a chunk beyond the end": (wav(chunk(b"LIST", b"abc", 4000)), "cannot be decoded"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_there_is_not_made_up(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "audio.wav"
    path.write_bytes(content)
    with pytest.raises(AudioFormatError, match=message):
        read_audio(path)


def test_the_warning_says_both_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audio.wav"
    path.write_bytes(READABLE["samples said to be none"])
    with caplog.at_level(logging.WARNING):
        read_audio(path)
    assert "audio.wav" in caplog.text and "0 bytes" in caplog.text and "32000" in caplog.text


def test_other_codecs_keep_their_chunks(tmp_path: Path) -> None:
    path = tmp_path / "audio.wav"
    for subtype in ("IMA_ADPCM", "PCM_24", "FLOAT", "ULAW"):
        soundfile.write(path, EXPECTED, 16_000, subtype=subtype)
        whole, _ = read_audio(path)
        content = path.read_bytes()
        at = content.index(b"data") + 4
        path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
        found, _ = read_audio(path)
        np.testing.assert_array_equal(found[: whole.size], whole)
        assert found.size - whole.size <= 16  # a chunk behind cannot be told from samples


def test_a_mark_before_a_name_is_visible_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match=r"\\ufeffaudio"):
        read_audio("\ufeffaudio.wav")
