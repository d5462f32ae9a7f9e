"""The engine espeak-ng: with a made-up program, and with the real one where it is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from echostream.errors import DataError
from echostream.training.recipes.espeak import HEARD_VARIANTS, HELD_OUT_VARIANTS, Espeak
from echostream.training.recipes.synthesis import Manner

from .speakers import write_espeak

ALL = (*HEARD_VARIANTS, *HELD_OUT_VARIANTS)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made-up program in PATH; the file it writes its calls to."""
    write_espeak(tmp_path / "bin", ALL)
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + os.environ["PATH"])
    return tmp_path / "bin/said"


def test_the_manner_reaches_the_program(said: Path) -> None:
    engine = Espeak("es")
    samples, rate = engine.say("¡Hola!", Manner("es-419/f2", 1.1, -0.5))
    assert (rate, samples.size) == (22_050, 1000 + 4 * 1700)
    call = said.read_text().splitlines()[-1]
    assert "-v es-419+f2 " in call
    # 165 words a minute times 1.1; pitch 50 - 0.5 * 20.
    assert call.endswith("-s 182 -p 40")
    assert engine.fingerprint()["program"] == "espeak-ng 1.51"
    for language in ("es", "fr", "en"):
        voices = Espeak(language).voices
        held_out = {voice.split("/")[1] for voice in voices.held_out}
        assert held_out == set(HELD_OUT_VARIANTS)
        assert held_out.isdisjoint(voice.split("/")[1] for voice in voices.heard)


def test_faults(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="refused"):
        Espeak("es").say("refuse", Manner("es/m1", 1.0, 0.0))
    with pytest.raises(DataError, match="'de'"):
        Espeak("de")
    # espeak-ng itself would say the text in its plain voice.
    write_espeak(said.parent, tuple(name for name in ALL if name != "f3"))
    with pytest.raises(DataError, match=r"espeak-ng 1\.51 lacks the voice variants f3"):
        Espeak("es")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DataError, match="apt-get install espeak-ng"):
        Espeak("es")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_real_program_speaks() -> None:
    engine = Espeak("es")
    text = "Deberíamos intentar ir hacia el oeste."
    spoken = {
        voice: engine.say(text, Manner(voice, 1.0, 0.0))[0]
        for voice in ("es/m1", *engine.voices.held_out)
    }
    assert all(1.0 < samples.size / 22_050 < 6.0 for samples in spoken.values())
    first, *others = spoken.values()
    assert all(not np.array_equal(first, other) for other in others)
    slow = engine.say(text, Manner("es/m1", 0.85, 0.0))[0]
    fast = engine.say(text, Manner("es/m1", 1.2, 0.0))[0]
    assert slow.size > 1.2 * fast.size
