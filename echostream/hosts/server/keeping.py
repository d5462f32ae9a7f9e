"""Streams whose client is away: in memory, or in a folder that several servers share."""

import asyncio
import hashlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from echostream.codec import decode, encode
from echostream.errors import ConfigError
from echostream.hosts.server.messages import Control
from echostream.hosts.transcript import WrittenWord
from echostream.whole_file import write_whole

LOOK_S = 0.1
"""Between two looks for a stream that another server may still have to save."""


@dataclass(frozen=True, eq=False)
class Kept:
    """All that a speech is, without its connection."""

    control: Control = Control()
    """What was said of the stream."""
    tentative: bool = False
    held: bytes = b""
    """Audio that is not pushed yet."""
    samples: int = 0
    """That came, of the stream."""
    words: tuple[WrittenWord, ...] = ()
    """The last ones."""
    num_words: int = 0
    """All of the stream."""
    shown: str = ""
    """What may still change."""
    ended: bool = False
    """Whether the stream is over, and no other has begun."""
    stream: bytes | None = None
    """What is computed, as a worker saved it."""


class Keeper(Protocol):
    """Has streams by the token with which they are taken up again, once."""

    async def put(self, token: str, kept: Kept) -> None:
        """Keep it for a while.

        Raises:
            DataError: if it cannot be written.
            StateMismatchError: if a part of it cannot be saved.
        """
        ...

    async def drop(self, token: str) -> None:
        """It is over; nothing if it is not kept."""
        ...

    async def take(self, token: str) -> Kept | None:
        """What was kept, which is then no longer there; ``None`` if it is not, or not any more.

        Raises:
            StateMismatchError: if it is damaged, or of another system.
        """
        ...


class InMemory:
    """For the clients of one server.

    Args:
        seconds: after which a stream is given up.
        most: that are kept at once; the first of more is given up.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._kept: dict[str, tuple[float, Kept]] = {}
        """With when they came, the first ones first."""

    async def put(self, token: str, kept: Kept) -> None:
        """See :class:`Keeper`."""
        self._kept[token] = (time.monotonic(), kept)
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        asyncio.get_running_loop().call_later(self._seconds, self._drop_old)

    async def drop(self, token: str) -> None:
        """See :class:`Keeper`."""
        self._kept.pop(token, None)

    async def take(self, token: str) -> Kept | None:
        """See :class:`Keeper`."""
        return self._kept.pop(token, (0.0, None))[1]

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._seconds
        for token in [token for token, (came, _) in self._kept.items() if came <= oldest]:
            del self._kept[token]


class InFolder:
    """For the clients of all servers that share a folder and are of the same system.

    Files are named by a hash of the token, which nobody can go back from. Their age is that of the
    file system, in which clocks of several machines should agree.

    Args:
        folder: is made, for this user only.
        fingerprint: of the system.
        seconds: after which a stream is given up.
        wait_s: for which a stream is waited for that another server may be about to save.

    Raises:
        ConfigError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, fingerprint: str, seconds: float, wait_s: float = 5.0) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._seconds, self._wait_s = seconds, wait_s
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--streams {folder} cannot be made ({error.strerror}); expected a folder"
            ) from error
        self._drop_old()

    async def put(self, token: str, kept: Kept) -> None:
        """See :class:`Keeper`."""
        await asyncio.to_thread(self._write, token, kept)

    async def drop(self, token: str) -> None:
        """See :class:`Keeper`."""
        await asyncio.to_thread(self._path(token).unlink, missing_ok=True)

    async def take(self, token: str) -> Kept | None:
        """See :class:`Keeper`."""
        until = time.monotonic() + self._wait_s
        while (data := await asyncio.to_thread(self._read, token)) is None:
            if time.monotonic() >= until:
                return None
            await asyncio.sleep(LOOK_S)
        kept: Kept = await asyncio.to_thread(decode, data, "stream", self._fingerprint)
        return kept

    def _path(self, token: str) -> Path:
        # A client's JSON can hold half a surrogate pair.
        name = hashlib.sha256(token.encode(errors="replace")).hexdigest()
        return self._folder / f"{name}.stream"

    def _write(self, token: str, kept: Kept) -> None:
        write_whole(self._path(token), encode(kept, "stream", self._fingerprint))
        self._drop_old()

    def _read(self, token: str) -> bytes | None:
        self._drop_old()
        path = self._path(token)
        # Of several that look at once, one can rename it; it may grow too old just then.
        own = path.with_suffix(f".{secrets.token_hex(8)}.stream")
        try:
            os.replace(path, own)
            data = own.read_bytes()
        except FileNotFoundError:
            return None
        own.unlink(missing_ok=True)
        return data

    def _drop_old(self) -> None:
        oldest = time.time() - self._seconds
        for path in self._folder.glob("*.stream*"):
            try:
                if path.stat().st_mtime <= oldest:
                    path.unlink()
            except FileNotFoundError:  # Another server was quicker.
                continue
