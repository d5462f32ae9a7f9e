"""Voices, plans, takes and their audio, with a made-up engine; the engine espeak-ng."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.split import split_of
from echostream.training.recipes import synthesis
from echostream.training.recipes.espeak import ACCENTS, HEARD_VARIANTS, HELD_OUT_VARIANTS, Espeak
from echostream.training.recipes.kokoro import VOICE_TABLES
from echostream.training.recipes.mbrola import Mbrola
from echostream.training.recipes.parallel_text import SentencePair, sentence_pair
from echostream.training.recipes.pico import Pico
from echostream.training.recipes.synthesis import (
    MAX_TAKES,
    PEAK,
    PITCHES,
    SPEEDS,
    Manner,
    VoiceTable,
    draw_manner,
    plan,
    synthesise,
)

from .speakers import PICO, VOICES, ToneEngine, write_espeak, write_program

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def pairs(count: int) -> list[SentencePair]:
    """So many sentences; about 85 % train, 5 % dev, 10 % test."""
    texts = [f"I have {NUMBERS[n % 10]} and {NUMBERS[n // 10]} dogs" for n in range(count)]
    return [sentence_pair("t", "GPL", text, f"tengo perros {n}") for n, text in enumerate(texts)]


def test_draws_depend_on_the_name_alone_and_spread() -> None:
    names = [f"n{number}" for number in range(4000)]
    manners = [draw_manner("tone", VOICES, name, "train") for name in names]
    assert manners == [draw_manner("tone", VOICES, name, "train") for name in names]
    assert manners != [draw_manner("other", VOICES, name, "train") for name in names]
    counts = Counter(manner.voice for manner in manners)
    # Expected 1000 each with a deviation of 27.
    assert set(counts) == set(VOICES.heard)
    assert all(850 < count < 1150 for count in counts.values())
    for values, limits in (
        ([manner.speed for manner in manners], SPEEDS),
        ([manner.pitch for manner in manners], PITCHES),
    ):
        assert limits[0] <= min(values) < max(values) <= limits[1]
        middle = sum(limits) / 2
        assert abs(sum(values) / len(values) - middle) < 0.1 * (limits[1] - limits[0])


def test_sides_have_voices_of_their_own() -> None:
    for split, voices in (("dev", VOICES.heard), ("test", VOICES.held_out)):
        drawn = {draw_manner("e", VOICES, str(n), split).voice for n in range(200)}
        assert drawn == set(voices)
    table = VoiceTable(("a", "b"), ("c", "d", "e"))
    assert [name for name in ("a", "a+b", "a+c", "e") if table.is_held_out(name)] == ["a+c", "e"]


def test_every_language_has_voices_of_both_engines() -> None:
    assert set(VOICE_TABLES) == set(ACCENTS) == {"es", "fr", "en"}
    for voices in VOICE_TABLES.values():
        assert voices.heard and voices.held_out
        assert not any(map(voices.is_held_out, voices.heard))
    # The speech that lies ready was made without these three.
    assert set(VOICE_TABLES["es"].held_out) == {"pm_alex", "ff_siwis", "am_adam"}


def test_a_plan_has_the_hours_asked_for() -> None:
    takes = plan("tone", VOICES, pairs(100), "es", 0.02)
    train = [take for take in takes if take.pair.split == "train"]
    letters = [sum(c.isalnum() for c in take.pair.other) for take in train]
    seconds = [0.3 + n / 13.5 / take.manner.speed for n, take in zip(letters, train, strict=True)]
    assert sum(seconds) >= 72 > sum(seconds[:-1])
    assert {take.pair.split for take in takes} == {"train", "dev", "test"}
    for take in takes:
        assert VOICES.is_held_out(take.manner.voice) == (take.pair.split == "test")
    with pytest.raises(DataError, match=f"10 sentences said {MAX_TAKES} times.*2 h"):
        plan("tone", VOICES, pairs(10), "es", 2.0)


@given(st.floats(0.001, 0.1), st.floats(0.001, 0.1))
@settings(deadline=None, max_examples=30)
def test_a_longer_plan_begins_with_the_shorter(first: float, second: float) -> None:
    short, long = sorted((first, second))
    sentences = pairs(100)
    begun = plan("tone", VOICES, sentences, "es", short)
    assert plan("tone", VOICES, sentences, "es", long)[: len(begun)] == begun
    # The order in which the sentences come does not matter.
    assert plan("tone", VOICES, sentences[::-1], "es", short) == begun


def test_sentences_are_said_again_but_only_in_train(monkeypatch: pytest.MonkeyPatch) -> None:
    takes = plan("tone", VOICES, pairs(60), "es", 0.05)
    ids = [take.id for take in takes]
    assert len(set(ids)) == len(ids)
    again = [take for take in takes if take.id != take.pair.id]
    assert again and {take.pair.split for take in again} == {"train"}
    first = {take.pair.id: take for take in takes if take.id == take.pair.id}
    assert any(first[take.pair.id].manner != take.manner for take in again)
    monkeypatch.setattr(synthesis, "MAX_HELD_OUT_TEXTS", {"dev": 1, "test": 2})
    sides = Counter(take.pair.split for take in plan("tone", VOICES, pairs(100), "es", 0.05))
    assert (sides["dev"], sides["test"]) == (1, 2)


def test_audio_and_rows(tmp_path: Path) -> None:
    takes = plan("tone", VOICES, pairs(30), "es", 0.005)
    rows = synthesise(ToneEngine(), takes, "es", "en", tmp_path, jobs=2)
    assert [row.id for row in rows] == [take.id for take in takes]
    for row, take in zip(rows, takes, strict=True):
        samples, rate = soundfile.read(tmp_path / row.audio)
        assert (rate, samples.size) == (16_000, row.num_samples)
        assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-4)
        assert row.speaker == f"tone-{take.manner.voice}"
        assert (row.src_text, row.tgt_text) == (take.pair.other, take.pair.english)
        assert (row.corpus, row.split, row.licence) == ("tone", take.pair.split, "GPL")
        letters = sum(c.isalnum() for c in row.src_text)
        expected = (0.1 + 0.08 * letters) / take.manner.speed
        assert row.seconds == pytest.approx(expected, abs=0.001)
    (row, *_) = synthesise(ToneEngine(), takes, "en", "es", tmp_path / "en", jobs=1)
    assert row.src_text.startswith("I have") and row.tgt_text.startswith("tengo")
    assert row.split == split_of(row.src_text)


def test_a_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    takes = plan("tone", VOICES, pairs(30), "es", 0.01)
    stopped, engine, whole = ToneEngine(), ToneEngine(), ToneEngine()
    stopped.fail_after = 4
    with pytest.raises(KeyboardInterrupt):
        synthesise(stopped, takes, "es", "en", tmp_path / "a", jobs=1)
    rows = synthesise(engine, takes, "es", "en", tmp_path / "a", jobs=1)
    assert len(stopped.said) == 4 and len(engine.said) == len(takes) - 4
    assert rows == synthesise(whole, takes, "es", "en", tmp_path / "b", jobs=3)
    for row in rows:
        ours, theirs = (tmp_path / folder / row.audio for folder in "ab")
        assert ours.read_bytes() == theirs.read_bytes()


def test_silence_and_speech_without_end_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ToneEngine()
    takes = plan("tone", VOICES, pairs(30), "es", 0.005)
    takes[0] = replace(takes[0], manner=replace(takes[0].manner, speed=0.01))
    engine.silent = {takes[1].pair.other}
    rows = synthesise(engine, takes, "es", "en", tmp_path, jobs=1)
    assert [row.id for row in rows] == [take.id for take in takes[2:]]
    assert f"tone/{takes[1].id} left out" in caplog.text


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


def test_mbrola_is_another_voice_of_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_espeak(tmp_path, ())
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Mbrola("es")
    assert engine.voices.heard[-1] == "mb-vz1" and not engine.voices.held_out
    samples, rate = engine.say("uno dos", Manner("mb-vz1", 1.0, 0.0))
    assert rate == 22_050 and samples.size
    assert "-v mb-vz1 " in (tmp_path / "said").read_text().splitlines()[-1]
    with pytest.raises(DataError, match=r"voice mb-us3 is not .* install mbrola mbrola-en1"):
        Mbrola("en")
    with pytest.raises(DataError, match="'eu'; expected one of"):
        Mbrola("eu")


def test_pico_is_told_manner_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "pico2wave", PICO)
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Pico("es")
    samples, rate = engine.say("-¿Uno < dos?", Manner("es-ES", 0.9, -1.0))
    assert (rate, samples.size) == (16_000, 4000)
    assert (tmp_path / "said").read_text() == (
        '-l es-ES -- <speed level="90"><pitch level="69">-¿Uno   dos?</pitch></speed>'
    )
    # No voice of its is kept for tests, so it says no sentence of them.
    takes = plan("pico", engine.voices, pairs(60), "es", 0.01)
    assert {take.pair.split for take in takes} == {"train", "dev"}
    with pytest.raises(DataError, match="no audio of 'refuse': Unsupported"):
        engine.say("refuse", Manner("es-ES", 1.0, 0.0))
    with pytest.raises(DataError, match="'eu'; expected one of"):
        Pico("eu")
    (tmp_path / "pico2wave").unlink()
    with pytest.raises(DataError, match="apt-get install libttspico-utils"):
        Pico("es")


@pytest.mark.skipif(shutil.which("pico2wave") is None, reason="pico2wave is not installed")
def test_the_real_pico_speaks() -> None:
    engine, text = Pico("es"), "Deberíamos intentar ir hacia el oeste."
    slow, fast = (engine.say(text, Manner("es-ES", speed, 0.0))[0] for speed in (0.85, 1.2))
    assert 16_000 < fast.size < slow.size / 1.2
    low, high = (engine.say(text, Manner("es-ES", 1.0, pitch))[0] for pitch in (-1.0, 1.0))
    assert not np.array_equal(low, high)


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
