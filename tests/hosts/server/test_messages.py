"""Messages that nobody expects, and a client that does not read."""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosedOK

from echostream.errors import AudioFormatError, EchoStreamError
from echostream.hosts.pool import StreamPool
from echostream.hosts.server import ServerOptions
from echostream.hosts.server.absent import Absences
from echostream.hosts.server.conversation import Conversation
from echostream.hosts.server.keeping import Kept
from echostream.hosts.server.messages import Control, Written, read_control, require_int16
from echostream.hosts.server.meter import Meter
from echostream.hosts.server.outbox import MOST_WORDS, Outbox
from echostream.hosts.server.speech import Speech
from echostream.hosts.transcript import WrittenWord
from echostream.session import SystemOptions, build_translator
from tests.small_system import audio, make_whisper

from .clients import translator_of

letters = st.text(alphabet='aé"{[\\', max_size=5)
plain = st.none() | st.booleans() | st.integers() | st.floats() | letters
values = plain | st.lists(plain, max_size=2) | st.dictionaries(letters, plain, max_size=2)
names = st.sampled_from(
    ("sample_rate", "source_lang", "target_lang", "tentative", "end_of_stream", "resume", "words")
)


@settings(max_examples=50, deadline=None)
@given(letters | st.dictionaries(names | letters, values, max_size=4).map(json.dumps))
def test_any_text_is_a_control_or_a_named_error(text: str) -> None:
    try:
        control = read_control(text)
    except EchoStreamError:
        return
    assert control.sample_rate is None or 1_000 < control.sample_rate < 1_000_000
    assert control.source_language is None or isinstance(control.source_language, str)


def test_what_simulstreams_page_sends_first() -> None:
    told = {"target_lang": "en", "source_lang": "", "sample_rate": 48000}
    assert read_control(json.dumps(told)) == Control(48_000, None, "en")


@pytest.mark.fault("F25")
@given(st.integers(0, 99), st.floats(0.002, 1.0), st.integers(320, 2_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_float32_on_the_wire_is_told_from_int16(
    seed: int, peak: float, length: int, is_decoded: bool
) -> None:
    if is_decoded:
        # Small 16-bit numbers fill the upper halves of float32 only, and cannot be told.
        peak = max(peak, 0.05)
    speech = audio(0.3, seed)[:length]
    speech *= np.float32(peak / np.abs(speech).max())
    whole = np.round(speech * 32767).astype("<i2")
    require_int16(whole)
    if is_decoded:  # Of a 16-bit file: the last bits of each number are zero.
        speech = whole.astype("<f4") / np.float32(32768)
    with pytest.raises(AudioFormatError, match="float32"):
        require_int16(np.frombuffer(speech.tobytes(), "<i2"))


@given(st.integers(-32_768, 32_767), st.integers(0, 60), st.integers(1, 2_000))
@settings(max_examples=50, deadline=None)
def test_no_16_bit_hum_is_taken_for_float32(level: int, hertz: int, length: int) -> None:
    wave = level * np.cos(np.arange(length) * 2 * np.pi * hertz / 16_000)
    require_int16(wave.astype("<i2"))


class Deaf:
    """A connection that sends audio for ever and takes no message."""

    close_code = 1006

    async def recv(self) -> bytes:
        await asyncio.sleep(0.01)
        return b"?"

    async def send(self, message: str) -> None:
        await asyncio.Event().wait()

    async def close(self, code: int, reason: str) -> None:
        raise ConnectionClosedOK(None, None)


@pytest.mark.fault("F48")
def test_a_client_that_does_not_read_is_dropped() -> None:
    async def work() -> float:
        nothing: Any = None
        connection: Any = Deaf()
        limits = ServerOptions(send_s=1.0)
        conversation = Conversation(
            connection, Speech(nothing, " "), Absences(nothing, nothing), limits, Meter()
        )
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(30):
            await conversation.run()
        return asyncio.get_running_loop().time() - began

    assert 0.9 < asyncio.run(work()) < 20


def test_words_that_wait_are_one_message_and_are_bounded() -> None:
    async def work() -> None:
        outbox = Outbox()
        word = WrittenWord("a", 1, 1)
        outbox.write(Written(" a" * (MOST_WORDS - 1), (word,) * (MOST_WORDS - 1), "", 1, 0, 1.0))
        for number in (2, 3):
            assert not outbox.is_full
            outbox.write(Written(" a", (word,), "tail", number, 0, 1.0))
        assert outbox.is_full
        outbox.tell("{}")
        told = json.loads(await outbox.take())
        assert told["new"] == " a" * (MOST_WORDS + 1) and told["tentative"] == "tail"
        assert len(told["words"]) == MOST_WORDS + 1
        assert told["audio_ms"] == told["compute_ms"] == 3
        assert await outbox.take() == "{}"
        assert not outbox.is_full

    asyncio.run(work())


@pytest.mark.parametrize(("seconds", "late"), [(0.2, False), (0.4, True)])
def test_a_server_is_late_when_chunks_wait_longer_than_they_last(
    seconds: float, late: bool
) -> None:
    now = [0.0]
    meter = Meter(clock=lambda: now[0])
    for _ in range(8):
        assert not meter.is_late(0.32)
        meter.served(seconds, 0.01, 1)
    assert meter.is_late(0.32) is late
    now[0] = 60.0
    assert not meter.is_late(0.32), "what was long ago says nothing"


class Ear:
    """An engine and its one stream, of which nothing is computed."""

    def __init__(self, pool: StreamPool) -> None:
        self.pool, self.number = pool, pool.open()
        self.chunk_ms, self.meter = pool.translator.listener.chunk_ms, Meter()
        self.pushed = 0

    @property
    def waiting_ms(self) -> int:
        return self.pool.waiting_ms(self.number)

    async def open(self, *_: object) -> Self:
        return self

    async def push(self, samples: Any, rate: int) -> None:
        self.pool.push(self.number, samples, rate)
        self.pushed += 1


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("ms", [20, 70])
@pytest.mark.parametrize("right_context_ms", [0, 160])
def test_short_messages_are_heard_together_and_no_chunk_is_later(
    checkpoint: Path, tmp_path: Path, rate: int, ms: int, right_context_ms: int
) -> None:
    if right_context_ms:
        make_whisper(tmp_path)
        options = SystemOptions(str(tmp_path), chunk_ms=320, right_context_ms=right_context_ms)
        pool = StreamPool(build_translator(options))
    else:
        pool = StreamPool(translator_of(checkpoint))
    ear: Any = Ear(pool)
    each = pool.open()
    samples = (audio(8.0, 1) * 32767).astype("<i2")[: 3 * rate]

    async def work() -> int:
        speech = Speech(ear, " ", Kept(Control(rate)))
        pieces = np.array_split(samples, 3000 // ms)
        for piece in pieces:
            await speech.hear(piece.tobytes())
            pool.push(each, piece, rate)
            assert ear.waiting_ms // ear.chunk_ms == pool.waiting_ms(each) // ear.chunk_ms
        return len(pieces)

    messages = asyncio.run(work())
    assert ear.pushed < 0.7 * messages
