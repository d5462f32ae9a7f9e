"""A headless Chromium with a microphone that plays a recording, spoken to by its own protocol."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


class Tab:
    """A page that is open."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """Errors and warnings of its console."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol; its result."""
        number = next(self._numbers)
        await self._connection.send(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            told = json.loads(await self._connection.recv())
            if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(told["params"])[:600])
            if told.get("id") == number:
                return told.get("result", told)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """Its value once it is true."""
        while not (value := await self.run(script)):
            await asyncio.sleep(0.1)
        return value

    async def press(self, name: str) -> None:
        """A key."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "Home": 36}
        about = {"key": name, "code": name, "windowsVirtualKeyCode": codes[name]}
        text = {"text": "\r"} if name == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    async def picture(self, path: Path) -> None:
        """Of what is seen, as PNG."""
        data = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(data["data"]))


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path, recording: Path | None, *flags: str) -> AsyncIterator[Tab]:
    """A tab of the page; without a recording the microphone is refused."""
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=900,720",
        "--no-first-run", *flags]  # fmt: skip
    if recording is not None:
        command += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={recording}%noloop"]  # fmt: skip
    process = subprocess.Popen(
        [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = folder / "DevToolsActivePort"
        while not found.exists() or len(lines := found.read_text().splitlines()) < 2:
            await asyncio.sleep(0.05)
        address = f"ws://127.0.0.1:{lines[0]}"
        async with connect(address + lines[1], max_size=None) as browser:
            first = Tab(browser)
            target = (await first.call("Target.createTarget", url="about:blank"))["targetId"]
            async with connect(f"{address}/devtools/page/{target}", max_size=None) as page:
                tab = Tab(page)
                for domain in ("Runtime", "Log", "Page"):
                    await tab.call(f"{domain}.enable")
                await tab.call("Page.navigate", url=url)
                await tab.until("document.readyState === 'complete'")
                yield tab
    finally:
        process.terminate()
        # Its helpers write into the folder until they are gone too.
        process.wait(timeout=20)
