"""Loads a page in headless Chromium, where there is one, and says what became of it."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def load(page: str, folder: Path) -> tuple[str, str]:
    """The document after the page has run, and what was written to the console."""
    assert CHROMIUM is not None
    path = folder / "loaded.html"
    path.write_text(page, encoding="utf-8")
    finished = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
            "--window-size=1000,900",
            "--dump-dom",
            path.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in finished.stderr.splitlines() if "CONSOLE" in line]
    return finished.stdout, "\n".join(console)
