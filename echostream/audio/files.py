"""Audio files to samples, with errors that name the file.

Legend: n = samples at the file's own rate.
"""

import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from echostream.audio.samples import Channel, check_samples
from echostream.audio.wav_header import UNKNOWN_LENGTH, RepairedWav, wav_repair
from echostream.errors import AudioFormatError, ConfigError

logger = logging.getLogger(__name__)

_LONGEST_OGG_PAGE = 65_307
_OGG_END_OF_STREAM = 4

# libsndfile reads what there is of a file that ends early and tells only its log, in these words.
_SHORT_CHUNK = re.compile(
    r"^\s*(?:riff|data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_HOLE = "reports a hole"


def read_audio(
    path: str | os.PathLike[str], *, channel: Channel = "mean"
) -> tuple[NDArray[np.float32], int]:
    """A whole audio file: samples float32 [n] in [-1, 1] and its rate in Hz.

    channel: of a file with two, as for `as_mono`.

    Any format libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, ...), whatever the name
    ends in. The rate is the file's own; `FrontEnd` and `Resampler` take it from there.

    Raises AudioFormatError, with the path, for a file that is missing, unreadable, not audio,
    damaged or shorter than it says, has no samples or more than two channels, or samples `as_mono`
    rejects.
    """
    with open_audio(path) as file:
        samples = _read(file, path, file.frames, position=0, channel=channel)
        check_complete(file, path, samples.size)
        return samples, file.samplerate


def stream_audio(
    path: str | os.PathLike[str],
    segment_ms: float,
    *,
    channel: Channel = "mean",
    lead_ms: float = 0.0,
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """A file piece by piece, for recordings that should not be in memory as a whole.

    segment_ms: length of a segment in milliseconds, at least one sample. Segment i ends at sample
        floor((i + 1) * segment_ms * rate / 1000), so that lengths which are no whole number of
        samples do not add up to a drift; the last one may be shorter.
    lead_ms: so much longer is the first segment, so that the ends of all others lie as much later.
    Yields (samples float32 [n], sample rate in Hz); together the segments equal `read_audio`.

    Raises AudioFormatError as `read_audio` does, but for some formats (MP3) that a file is cut
    short shows only at its end, after the segments before have been given out. ConfigError for a
    bad segment_ms. Errors come with the first segment asked for, as the file is opened then.
    """
    with open_audio(path) as file:
        rate: int = file.samplerate
        if not 1000 <= segment_ms * rate < math.inf:  # false for NaN
            raise ConfigError(
                f"segment_ms is {segment_ms!r}; expected at least one sample at {rate} Hz, that is "
                f"{1000 / rate:g} ms; 320 is usual"
            )
        position = 0
        segments = 0
        while position < file.frames:
            segments += 1
            end = min(int((lead_ms + segments * segment_ms) * rate // 1000), file.frames)
            samples = _read(file, path, end - position, position=position, channel=channel)
            if samples.size:
                yield samples, rate
            position += samples.size
            if position < end:
                break
        check_complete(file, path, position)


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # untyped base class
    """A sound file read from start to end.

    soundfile seeks after every read of a seekable file. In compressed files that restarts the
    decoder: read in segments, Opus then differs from the whole by up to 0.02 of full scale at some
    joints, MP3 in the last bit (with complaints from its decoder on standard error).
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def open_audio(path: str | os.PathLike[str]) -> Iterator[SequentialFile]:
    """The opened file, after the checks that need no samples; errors are translated."""
    name = os.fspath(path)
    with ExitStack() as stack:
        try:
            # libsndfile says "System error" whatever the reason; the operating system says which.
            raw = stack.enter_context(open(name, "rb"))
            ends_early = _is_ogg_without_end(raw)
            repair = wav_repair(raw)
        except OSError as error:
            raise AudioFormatError(
                f"audio file {name!r} cannot be read: {error.strerror}; check the path and its "
                "permissions"
            ) from error
        try:
            source = name if repair is None else RepairedWav(raw, repair)
            file = stack.enter_context(SequentialFile(source))
            if repair is not None and repair.found != repair.stated:
                logger.warning(
                    "audio file %r says that it holds %d bytes of samples but there are %d; it is "
                    "read to its end",
                    name,
                    repair.stated,
                    repair.found,
                )
            _check_header(file, name, ends_early=ends_early)
            yield file
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw files
            raise _undecodable(name, error) from error


def _check_header(file: SequentialFile, name: str, *, ends_early: bool) -> None:
    """Refuse what its header shows to be of no use."""
    if file.channels > 2:
        raise AudioFormatError(
            f"audio file {name!r} has {file.channels} channels; expected one or two; mix it down "
            "first"
        )
    if file.frames == 0:
        raise AudioFormatError(
            f"audio file {name!r} holds no samples; expected at least one; it is empty or was cut "
            "off after its header"
        )
    stated, found = _stated_and_found(file.extra_info)
    if stated > found or ends_early:
        size = f"{found} of {stated} bytes are there" if stated else "its last page is missing"
        raise AudioFormatError(
            f"audio file {name!r} is cut short: {size}; copy or download it again"
        )


def _undecodable(name: str, error: Exception) -> AudioFormatError:
    return AudioFormatError(
        f"audio file {name!r} cannot be decoded ({str(error).rstrip('.')}); expected an undamaged "
        "WAV, FLAC, Ogg, MP3 or other file that libsndfile reads"
    )


def _read(
    file: SequentialFile,
    path: str | os.PathLike[str],
    frames: int,
    *,
    position: int,
    channel: Channel,
) -> NDArray[np.float32]:
    samples = file.read(frames, dtype="float32")
    try:
        return check_samples(samples, position=position, channel=channel).samples
    except AudioFormatError as error:
        raise AudioFormatError(f"audio file {os.fspath(path)!r}: {error}") from error


def check_complete(file: SequentialFile, path: str | os.PathLike[str], samples_read: int) -> None:
    """To be called when all has been read: decoders report some damage only then."""
    if samples_read < file.frames or _HOLE in file.extra_info:
        raise AudioFormatError(
            f"audio file {os.fspath(path)!r} is damaged or cut short: {samples_read} of "
            f"{file.frames} samples could be decoded, with a gap or a premature end; copy or "
            "download it again"
        )


def _stated_and_found(log: str) -> tuple[int, int]:
    """Length of the audio in bytes according to the header, and as it is; (0, 0) if they agree."""
    for match in _SHORT_CHUNK.finditer(log):
        stated, found = int(match[1]), int(match[2])
        if found < stated < UNKNOWN_LENGTH:
            return stated, found
    return 0, 0


def _is_ogg_without_end(raw: BinaryIO) -> bool:
    """Whether this is an Ogg file whose last page is not marked as the last of its stream.

    libsndfile decodes such a Vorbis file as if it were whole.
    """
    if raw.read(4) != b"OggS":
        return False
    raw.seek(0, os.SEEK_END)
    raw.seek(max(0, raw.tell() - _LONGEST_OGG_PAGE))
    tail = raw.read()
    # RFC 3533, section 6: flags in byte 5, number of segments in byte 26, then the segment lengths.
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return len(page) < length or not page[5] & _OGG_END_OF_STREAM
