"""Clients of a server: those that speak in real time, and one of each kind that misbehaves.

Legend: n samples at 16 kHz.
"""

import asyncio
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from echostream.constants import SAMPLE_RATE
from eval.live.talks import Talk

PIECE = SAMPLE_RATE // 50
"""Samples of a message: 20 ms, as browsers send them."""

SLOW_READER_S = 5.0
"""Between two messages that a slow reader takes."""

_MOST_FAULTS = 20


@dataclass
class Record:
    """What all clients saw."""

    right_context_ms: int = 0
    """Audio behind a chunk that its words wait for."""
    late_s: list[float] = field(default_factory=list)
    """From when the end of a chunk and its right context was sent to when its words were there."""
    slip_s: list[float] = field(default_factory=list)
    """By how much messages left later than real time wants: the server did not take them, or this
    program was late itself."""
    tail_s: list[float] = field(default_factory=list)
    """From the end of a stream to its last message."""
    counts: Counter[str] = field(default_factory=Counter)
    """Streams, words, and what the clients that misbehave did."""
    faults: Counter[str] = field(default_factory=Counter)
    """What must not be, and how often it was."""

    def fault(self, text: str) -> None:
        """Note one."""
        if text in self.faults or len(self.faults) < _MOST_FAULTS:
            self.faults[text] += 1

    def compare(self, who: str, words: Sequence[str], talk: Talk) -> None:
        """A stream is over."""
        self.counts.update(streams=1, words=len(words))
        if tuple(words) != talk.words:
            place = next(
                (n for n, pair in enumerate(zip(words, talk.words, strict=False))
                 if pair[0] != pair[1]),
                min(len(words), len(talk.words)),
            )  # fmt: skip
            self.fault(
                f"{who}: {len(words)} words, from word {place} on {list(words[place : place + 5])};"
                f" alone {len(talk.words)}, {list(talk.words[place : place + 5])}"
            )


Client = Callable[[str, Talk, Record], Awaitable[None]]
"""One round of a client: URL of the server, what is said, where it is noted."""


async def speak(
    connection: ClientConnection,
    talk: Talk,
    record: Record,
    *,
    first: int = 0,
    stop: int | None = None,
    pause_s: float = 0.0,
) -> list[str]:
    """Send ``talk.samples[first:stop]`` as they would be spoken; the words that came.

    Without ``stop`` the stream ends with the talk, and all of its words are waited for. For so long
    as audio is sent, ``pause_s`` goes by between two messages that are read.
    """
    clock = asyncio.get_running_loop().time
    until = len(talk.samples) if stop is None else stop
    ends: list[int] = []
    sent_at: list[float] = []
    words: list[str] = []

    async def send() -> None:
        began = clock()
        for start in range(first, until, PIECE):
            end = min(start + PIECE, until)
            due = began + (end - first) / SAMPLE_RATE
            await asyncio.sleep(due - clock())
            await connection.send(talk.samples[start:end].tobytes())
            ends.append(end)
            sent_at.append(clock())
            record.slip_s.append(sent_at[-1] - due)
        if stop is None:
            await connection.send('{"end_of_stream": true}')

    async def listen() -> None:
        while "end_of_processing" not in (told := json.loads(await connection.recv())):
            if "error" in told:
                record.fault(f"a client was told: {told['error']}")
            new = told.get("words", [])
            words.extend(word["text"] for word in new)
            for ms in {word["written_ms"] for word in new}:
                needed = (ms + record.right_context_ms) * SAMPLE_RATE // 1000
                place = bisect_left(ends, min(needed, until))
                if first < ms * SAMPLE_RATE // 1000 and place < len(sent_at) and not pause_s:
                    record.late_s.append(clock() - sent_at[place])
            if pause_s and (not ends or ends[-1] < until):
                await asyncio.sleep(pause_s)

    listening = asyncio.create_task(listen())
    try:
        await send()
        if stop is None:
            await listening
            record.tail_s.append(clock() - sent_at[-1])
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return words


async def speaker(url: str, talk: Talk, record: Record) -> None:
    """A client as it should be."""
    async with connect(url, max_size=None, ping_interval=None) as connection:
        record.compare("a client", await speak(connection, talk, record), talk)


async def slow_reader(url: str, talk: Talk, record: Record) -> None:
    """Hardly reads what it is told, until it has said everything."""
    async with connect(url, max_queue=1, ping_interval=None) as connection:
        words = await speak(connection, talk, record, pause_s=SLOW_READER_S)
        record.compare("a slow reader", words, talk)
        record.counts["slow readers"] += 1


async def silent(url: str, talk: Talk, record: Record) -> None:
    """Connects and says nothing until it is dropped."""
    async with connect(url, ping_interval=None) as connection:
        await _dismissed(connection, record, "silent clients", 1008)


async def garbage(url: str, talk: Talk, record: Record) -> None:
    """Sends what is no message, noise, and too much at once."""
    float32 = (talk.samples[: 10 * PIECE] / 32768).astype("<f4").tobytes()
    async with connect(url, ping_interval=None) as connection:
        for message in ("{", "[" * 50_000, "3", '{"sample_rate": "x"}', b"\x01", float32, "?" * 99):
            for _ in range(3):
                await connection.send(message)
        await _dismissed(connection, record, "clients with garbage", 1008)
    async with connect(url, ping_interval=None) as connection:
        await connection.send(bytes(2 << 20))
        await _dismissed(connection, record, "clients with garbage", 1009)
    await asyncio.sleep(1)


async def vanishing(url: str, talk: Talk, record: Record) -> None:
    """Goes in the middle for good, and then another time to come back."""
    half = len(talk.samples) // 2
    async with connect(url, ping_interval=None) as connection:
        await speak(connection, talk, record, stop=min(half, 5 * SAMPLE_RATE))
        connection.transport.abort()
    async with connect(url, ping_interval=None) as connection:
        await connection.send('{"resume": true}')
        token = json.loads(await connection.recv())["token"]
        words = await speak(connection, talk, record, stop=half)
        connection.transport.abort()
    await asyncio.sleep(1)
    async with connect(url, ping_interval=None) as connection:
        await connection.send(json.dumps({"resume": token, "words": len(words)}))
        back = json.loads(await connection.recv())
        if "error" in back:
            record.fault(f"a client that came back was told: {back['error']}")
            return
        words += await speak(connection, talk, record, first=back["samples"])
        record.compare("a client that came back", words, talk)
        record.counts["clients that came back"] += 1


MISCHIEF: tuple[Client, ...] = (slow_reader, silent, garbage, vanishing)


async def rounds(
    client: Client, url: str, talks: Sequence[Talk], first: int, seconds: float, record: Record
) -> None:
    """Let a client have one round after the other, none of which begins after so many seconds."""
    clock = asyncio.get_running_loop().time
    end, number = clock() + seconds, first
    while clock() < end:
        try:
            await client(url, talks[number % len(talks)], record)
        except InvalidStatus as error:
            record.fault(
                f"a client was not let in: {error.response.status_code} "
                f"{(error.response.body or b'').decode().strip()}"
            )
            await asyncio.sleep(1)
        except (ConnectionClosed, OSError) as error:
            record.fault(f"a connection ended in the middle: {error}")
            await asyncio.sleep(1)
        number += 1


async def _dismissed(connection: ClientConnection, record: Record, who: str, code: int) -> None:
    """Read until the server hangs up."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as error:
        found = None if error.rcvd is None else error.rcvd.code
        record.counts[who] += 1
        if found != code:
            record.fault(f"{who}: the connection ended with {found}; expected {code}")
