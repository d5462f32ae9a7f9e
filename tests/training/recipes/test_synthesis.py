"""Plans, takes and their audio, with a made-up engine."""

from __future__ import annotations

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
from echostream.training.recipes.parallel_text import SentencePair, sentence_pair
from echostream.training.recipes.synthesis import (
    MAX_TAKES,
    PEAK,
    expected_seconds,
    plan,
    synthesise,
)

from .speakers import VOICES, ToneEngine

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def pairs(count: int) -> list[SentencePair]:
    """So many sentences; about 85 % train, 5 % dev, 10 % test."""
    return [
        sentence_pair(
            "t",
            "GPL",
            f"I have {NUMBERS[n % 10]} and {NUMBERS[n // 10]} dogs",
            f"tengo perros {n}",
        )
        for n in range(count)
    ]


def test_a_plan_has_the_hours_asked_for() -> None:
    takes = plan("tone", VOICES, pairs(100), "es", 0.02)
    train = [take for take in takes if take.split == "train"]
    seconds = [expected_seconds(take.pair.other, take.manner.speed) for take in train]
    assert sum(seconds) >= 72 > sum(seconds[:-1])
    assert {take.split for take in takes} == {"train", "dev", "test"}
    for take in takes:
        assert take.split == split_of(take.pair.english)
        assert VOICES.is_held_out(take.manner.voice) == (take.split == "test")


@given(st.floats(0.001, 0.1), st.floats(0.001, 0.1))
@settings(deadline=None, max_examples=30)
def test_a_longer_plan_begins_with_the_shorter(first: float, second: float) -> None:
    short, long = sorted((first, second))
    sentences = pairs(100)
    begun = plan("tone", VOICES, sentences, "es", short)
    assert plan("tone", VOICES, sentences, "es", long)[: len(begun)] == begun
    # The order in which the sentences come does not matter.
    assert plan("tone", VOICES, sentences[::-1], "es", short) == begun


def test_sentences_are_said_again_but_only_in_train() -> None:
    sentences = pairs(60)
    takes = plan("tone", VOICES, sentences, "es", 0.05)
    ids = [take.id for take in takes]
    assert len(set(ids)) == len(ids)
    again = [take for take in takes if take.id != take.pair.id]
    assert again and {take.split for take in again} == {"train"}
    first = {take.pair.id: take for take in takes if take.id == take.pair.id}
    assert any(first[take.pair.id].manner != take.manner for take in again)
    held_out = [take.pair.id for take in takes if take.split != "train"]
    assert len(set(held_out)) == len(held_out)


def test_too_few_sentences_are_an_error() -> None:
    with pytest.raises(DataError, match=f"10 sentences said {MAX_TAKES} times.*2 h"):
        plan("tone", VOICES, pairs(10), "es", 2.0)


def test_dev_and_test_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "MAX_HELD_OUT_TEXTS", {"dev": 1, "test": 2})
    takes = plan("tone", VOICES, pairs(100), "es", 0.05)
    assert [sum(take.split == split for take in takes) for split in ("dev", "test")] == [1, 2]


def test_audio_and_rows(tmp_path: Path) -> None:
    engine = ToneEngine()
    takes = plan("tone", VOICES, pairs(30), "es", 0.005)
    rows = synthesise(engine, takes, "es", "en", tmp_path, jobs=2)
    assert [row.id for row in rows] == [take.id for take in takes]
    for row, take in zip(rows, takes, strict=True):
        samples, rate = soundfile.read(tmp_path / row.audio)
        assert (rate, samples.size) == (16_000, row.num_samples)
        assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-4)
        assert row.speaker == f"tone-{take.manner.voice}"
        assert (row.src_text, row.tgt_text) == (take.pair.other, take.pair.english)
        assert (row.corpus, row.split, row.licence) == ("tone", take.split, "GPL")
        letters = sum(c.isalnum() for c in row.src_text)
        expected = (0.1 + 0.08 * letters) / take.manner.speed
        assert row.seconds == pytest.approx(expected, abs=0.001)


def test_english_speech_has_its_sides_from_the_spoken_text(tmp_path: Path) -> None:
    takes = plan("tone", VOICES, pairs(30), "en", 0.005)
    rows = synthesise(ToneEngine(), takes, "en", "es", tmp_path, jobs=1)
    assert all(row.split == split_of(row.src_text) for row in rows)
    assert rows[0].src_text.startswith("I have") and rows[0].tgt_text.startswith("tengo")


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
        assert (tmp_path / "a" / row.audio).read_bytes() == (
            tmp_path / "b" / row.audio
        ).read_bytes()


def test_silence_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = ToneEngine()
    takes = plan("tone", VOICES, pairs(30), "es", 0.005)
    engine.silent = {takes[1].pair.other}
    rows = synthesise(engine, takes, "es", "en", tmp_path, jobs=1)
    assert takes[1].id not in {row.id for row in rows} and len(rows) == len(takes) - 1
    assert f"tone/{takes[1].id} left out" in caplog.text


def test_speech_without_end_is_left_out(tmp_path: Path) -> None:
    takes = plan("tone", VOICES, pairs(30), "es", 0.005)[:1]
    slow = [replace(takes[0], manner=replace(takes[0].manner, speed=0.01))]
    assert synthesise(ToneEngine(), slow, "es", "en", tmp_path, jobs=1) == []
