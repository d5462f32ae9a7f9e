"""The page in a browser with a microphone that plays a recording."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import soundfile

from echostream.hosts.server import Server
from echostream.hosts.transcript import WrittenWord, transcript
from tests.small_system import audio

from .browser import CHROMIUM, Tab, opened
from .clients import client, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

START = "document.getElementById('start')"


async def text(tab: Tab, name: str) -> str:
    return await tab.run(f"document.getElementById('{name}').textContent")


async def started(tab: Tab) -> None:
    """By keyboard alone: the button is found by tabulator."""
    await tab.until(f"!{START}.disabled")
    while await tab.run("document.activeElement.id") != "start":
        await tab.press("Tab")
    await tab.press("Enter")


async def check_timeline(tab: Tab) -> None:
    """By keyboard: the slider says what the drawing shows, which has a colour for each of its
    parts."""
    told = await tab.run("document.getElementById('words').textContent.split(' ')")
    while await tab.run("document.activeElement.id") != "time":
        await tab.press("Tab")
    await tab.press("Home")
    shown = await tab.run("document.getElementById('time').getAttribute('aria-valuetext')")
    assert shown.startswith(f"0:00 to 0:20: {' '.join(told[:4])}")
    drawn = await tab.run(
        "(() => { const canvas = document.getElementById('timeline');"
        " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " const found = {};"
        " for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) {"
        "   const name = data.subarray(i, i + 3).join(); found[name] = (found[name] ?? 0) + 1; }"
        " return found; })()"
    )
    marks = drawn["11,92,85"]  # of WRITE, 4 by 17 pixels at most
    assert 51 <= marks <= 68 * len(told)
    assert drawn["105,107,112"] > 300 and drawn["215,215,210"] > 300  # the waveform, and READ


def test_words_of_a_microphone(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "speech.wav", audio(9.0, 1), 48_000)
    words: list[WrittenWord] = []

    async def work(server: Server) -> None:
        async with opened(server.url, tmp_path / "chromium", tmp_path / "speech.wav") as tab:
            await started(tab)
            await tab.until("Number(document.getElementById('count').textContent) > 3")
            assert await text(tab, "status") == "Listening"
            await tab.until("document.getElementById('tail').textContent")
            for conversation in tuple(server._conversations):
                conversation.hang_up()
            await tab.until("document.getElementById('status').textContent !== 'Listening'")
            await tab.until("document.getElementById('status').textContent === 'Listening'")
            written = server.meter.words
            await tab.until(f"Number(document.getElementById('count').textContent) > {written}")
            await tab.press("Escape")
            await tab.until(f"{START}.textContent === 'Start'")
            assert await text(tab, "tail") == "" and await text(tab, "error") == ""
            await check_timeline(tab)
            await tab.run("window.saved = {}")
            await tab.run(
                "URL.createObjectURL = (blob) => {"
                " blob.text().then((text) => { window.saved[blob.type] = text; }); return '#'; }"
            )
            for form in ("txt", "srt", "vtt", "json"):
                await tab.run(f"document.querySelector('[data-form={form}]').click()")
            await tab.until("Object.keys(window.saved).length === 4")
            saved = await tab.run("window.saved")
            told = json.loads(saved["application/json"])
            words.extend(WrittenWord(**word) for word in told["words"])
            assert len(words) == server.meter.words > 3
            assert saved["text/plain"] == await text(tab, "words") + "\n"
            for kind, form in (("plain", "txt"), ("vtt", "vtt")):
                assert saved[f"text/{kind}"] == transcript(words, form)
            assert saved["application/x-subrip"] == transcript(words, "srt")
            # No line holds these, as in a language without spaces.
            long = [replace(words[0], text="x" * length) for length in (7, 60, 20, 130, 43)]
            shown = json.dumps([asdict(word) for word in long])
            made = f"import('/transcript.js').then((it) => it.transcript({shown}, 'srt', ' '))"
            assert await tab.run(made) == transcript(long, "srt")
            assert not tab.complaints
            assert server.meter.opened == 1

    serving(checkpoint, work)


def test_errors_are_said_in_words(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "speech.wav", audio(1.0, 1), 48_000)

    async def work(server: Server) -> None:
        async with opened(server.url, tmp_path / "refused", None) as tab:
            await started(tab)
            await tab.until("!document.getElementById('error').hidden")
            assert "microphone" in await text(tab, "error")
        async with (
            client(server),
            opened(server.url, tmp_path / "busy", tmp_path / "speech.wav") as tab,
        ):
            await started(tab)
            await tab.until("!document.getElementById('error').hidden")
            assert "takes no more now: 1 clients are connected" in await text(tab, "error")
            assert await tab.run(f"{START}.textContent") == "Start"

    serving(checkpoint, work, max_clients=1)
