"""WAV files whose header says something else than the file: where their samples really are.

Recorders write the header first and the lengths last. Who stops them, or listens to a pipe, gets a
file that says it is empty, or ends before its samples do. Other programs forget the byte that makes
an odd chunk even, or count the header in. libsndfile believes the header.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

UNKNOWN_LENGTH = 0x7FFF_0000
"""Programs that write to a pipe put a length from here up into the header: not known beforehand."""

_TAGS = (b"TAG", b"ID3", b"APETAGEX")
"""What music players append; no chunk, and no samples either."""

_LONGEST_PADDING = 128
"""Bytes behind the samples that are taken for padding, whatever they are."""

_HEAD = struct.Struct("<4sI")


@dataclass(frozen=True)
class WavRepair:
    """A header to read instead of the file's own, and the bytes of the file it is for.

    header: everything before the samples, with lengths that are right.
    start: position of the first sample in the file. found: bytes of samples from there.
    stated: their number according to the file's own header.
    """

    header: bytes
    start: int
    found: int
    stated: int


def wav_repair(raw: BinaryIO) -> WavRepair | None:
    """What to read instead of a WAV file as it is; None for a sound one, and for other files.

    Samples reach to the end of the file where the header gives no length for them, a length that
    ends before other bytes than chunks and tags, or one beyond the end that the length of the
    whole (RIFF) contradicts. A file that both lengths say is longer was cut short: None, since no
    header repairs that.
    """
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    begin = raw.read(12)
    if len(begin) < 12 or begin[:4] != b"RIFF" or begin[8:] != b"WAVE":
        return None
    chunks, start, stated = _before_samples(raw, size)
    if start is None:
        return None
    rest = size - start
    riff_end = 8 + _HEAD.unpack(begin[:8])[1]
    was_padded = 12 + len(chunks) + 8 == start
    is_too_long = stated > rest and riff_end in (size, size + 1)
    is_too_short = stated < rest and not _is_appendix(raw, start + stated, rest - stated, stated)
    is_unknown = stated >= UNKNOWN_LENGTH
    found = rest if is_unknown or is_too_long or is_too_short else stated
    if found > rest or (was_padded and (found == stated or is_unknown)):
        return None  # libsndfile says what is wrong, or reads such files well
    body = b"WAVE" + chunks + _HEAD.pack(b"data", min(found, UNKNOWN_LENGTH))
    header = _HEAD.pack(b"RIFF", min(len(body) + found, 0xFFFF_FFFF)) + body
    return WavRepair(header, start, found, stated)


def _before_samples(raw: BinaryIO, size: int) -> tuple[bytes, int | None, int]:
    """Chunks before the samples, padded as they should be; where those begin; their stated length.

    Without samples the position is None.
    """
    chunks = b""
    position = 12
    while position + 8 <= size:
        raw.seek(position)
        name, length = _HEAD.unpack(raw.read(8))
        if name == b"data":
            return chunks, position + 8, length
        if not _is_name(name) or length > size - position - 8:
            break
        content = raw.read(length)
        position += 8 + length
        chunks += _HEAD.pack(name, length) + content
        if length % 2:
            chunks += b"\0"
            # Some programs leave the padding out; then the next name begins a byte earlier.
            raw.seek(position)
            position += not _is_name(raw.read(4))
    return chunks, None, 0


def _is_appendix(raw: BinaryIO, position: int, length: int, stated: int) -> bool:
    """Whether the bytes behind the stated end of the samples are chunks, a tag or padding."""
    if stated and length <= _LONGEST_PADDING:
        return True
    for start in (position, position + 1):
        at, end = start, position + length
        raw.seek(at)
        if raw.read(8).startswith(_TAGS):
            return True
        while at + 8 <= end:
            raw.seek(at)
            name, size = _HEAD.unpack(raw.read(8))
            if not _is_name(name):
                break
            at += 8 + size + size % 2
        if at >= end - 1 > start:
            return True
    return False


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


class RepairedWav:
    """A file object for soundfile: the new header, then the samples of the file."""

    def __init__(self, raw: BinaryIO, repair: WavRepair) -> None:
        self._raw = raw
        self._header = repair.header
        self._start = repair.start
        self._size = len(repair.header) + repair.found
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        end = min(self._position + count, self._size)
        content = self._header[self._position : end]
        beyond = self._position + len(content) - len(self._header)
        if end > self._position + len(content):
            self._raw.seek(self._start + beyond)
            content += self._raw.read(end - self._position - len(content))
        self._position += len(content)
        return content
