"""Whole runs of a miniature recipe."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from echostream.errors import DataError
from echostream.training.corpus.conversion import convert, to_sample_rate
from echostream.training.corpus.manifest import read_manifest
from echostream.training.corpus.split import SPLITS, split_of
from echostream.training.recipes import recipe as recipe_module
from echostream.training.recipes.apt import Package
from echostream.training.recipes.packages import check_counts
from echostream.training.recipes.recipe import Options, Recipe, run
from echostream.training.recipes.tuxpaint import TuxpaintReader

from .conftest import needs_dpkg
from .packages import (
    EXPECTED,
    SOUNDS,
    Archive,
    asterisk_packages,
    g722,
    mini_recipe,
    names,
    tone,
    transcript,
    tree_deb,
)

pytestmark = needs_dpkg
ALL = ("asterisk", "tuxpaint", "drascula")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "out", tmp_path / "work", ALL)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's content and time of writing."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_whole_run(full_archive: Archive, options: Options) -> None:
    rows = run(mini_recipe(), options)
    output = options.output
    assert names(rows) == EXPECTED
    assert read_manifest(output / "manifest.tsv") == rows
    for split in SPLITS:
        own = [row for row in rows if row.split == split]
        assert read_manifest(output / f"{split}.tsv") == own
    for row in rows:
        info = soundfile.info(output / row.audio)
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")
        assert (info.frames, round(info.frames / 16_000, 4)) == (row.num_samples, row.seconds)
        assert row.split == split_of(row.tgt_text)
    lengths = {row.id: row.seconds for row in rows}
    assert lengths["agent-pass"] == pytest.approx(2.0, abs=0.001)
    assert lengths["birds_red"] == pytest.approx(0.8, abs=0.001)
    assert lengths["VB1"] == pytest.approx(1.0, abs=0.001)
    texts = {row.id: (row.src_text, row.tgt_text) for row in rows}
    assert texts["birds_thanks"] == ("¡Gracias!", "“Thank you!”")
    assert texts["VB1"] == ("GRACIAS, SEÑOR", "THANK YOU")
    lists = sorted(path.name for path in (output / "lists").iterdir())
    assert len(lists) == 3 * 3 * 3
    assert all(
        Path(line).is_file()
        for path in (output / "lists").glob("*.wav_list")
        for line in path.read_text().splitlines()
    )
    assert "drascula notice" in (output / "LICENCES.txt").read_text()
    assert (output / "licences/drascula.readme.txt").read_text() == "readme\n"
    assert not options.work.exists()
    assert not list(output.rglob("*.part"))


def test_the_tone_keeps_its_pitch(full_archive: Archive, options: Options) -> None:
    run(mini_recipe(), options)
    for name, hertz in (
        ("asterisk/agent-pass", 440),
        ("tuxpaint/birds_red", 500),
        ("drascula/1", 440),
    ):
        samples, _ = soundfile.read(options.output / f"audio/{name}.flac")
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
        assert spectrum.argmax() * 16_000 / samples.size == pytest.approx(hertz, abs=2)


def test_a_second_run_fetches_and_writes_no_audio(full_archive: Archive, options: Options) -> None:
    first = run(mini_recipe(), options)
    downloads, audio = full_archive.downloads, snapshot(options.output / "audio")
    full_archive.fail("E: no network")
    assert run(mini_recipe(), options) == first
    assert full_archive.downloads == downloads
    assert snapshot(options.output / "audio") == audio


def test_only_some_corpora_and_splits(full_archive: Archive, options: Options) -> None:
    demo = replace(options, corpora=("asterisk",), splits=("test",))
    rows = run(mini_recipe(), demo)
    tests = [name for name in EXPECTED if name.startswith("asterisk") and name.endswith("test")]
    assert names(rows) == tests
    assert len(list(options.output.rglob("*.flac"))) == 2
    assert {name.split("=")[0] for name in full_archive.downloads} == set(asterisk_packages())
    assert sorted(path.name for path in (options.output / "lists").iterdir()) == [
        "asterisk.test.source_text", "asterisk.test.target", "asterisk.test.wav_list",
    ]  # fmt: skip
    # Another split later comes in addition.
    dev = replace(demo, splits=("dev",))
    assert names(run(mini_recipe(), dev)) == sorted([*tests, "asterisk/vm-red/dev"])
    # More can be asked for later, and asking for less again takes nothing away.
    assert names(run(mini_recipe(), options)) == EXPECTED
    assert names(run(mini_recipe(), demo)) == EXPECTED


def test_order_does_not_depend_on_what_was_made_first(
    full_archive: Archive, options: Options, tmp_path: Path
) -> None:
    at_once = run(mini_recipe(), options)
    pieces = replace(options, output=tmp_path / "pieces", jobs=3)
    for corpora in (("drascula",), ("tuxpaint", "asterisk")):
        rows = run(mini_recipe(), replace(pieces, corpora=corpora))
    assert rows == at_once


def test_resumes_after_an_interruption(
    full_archive: Archive, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def interrupted(target: Path, decode: Any, source: Path) -> int:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(target.stem)
        return convert(target, decode, source)

    with monkeypatch.context() as patch:
        patch.setattr(recipe_module, "convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(mini_recipe(), options)
    before = snapshot(options.output / "audio")
    assert len(before) == 7
    downloads = full_archive.downloads
    assert names(run(mini_recipe(), options)) == EXPECTED
    after = snapshot(options.output / "audio")
    assert len(after) == len(EXPECTED)
    assert {name: after[name] for name in before} == before
    # Asterisk was finished, Tux Paint's package still lay in the work folder.
    assert {name.split("=")[0] for name in full_archive.downloads[len(downloads) :]} == {
        "drascula", "drascula-spanish",
    }  # fmt: skip


def test_a_lost_clip_is_made_again(full_archive: Archive, options: Options) -> None:
    first = run(mini_recipe(), options)
    audio = snapshot(options.output / "audio")
    (options.output / "audio/drascula/3.flac").unlink()
    assert run(mini_recipe(), options) == first
    again = snapshot(options.output / "audio")
    assert again.pop("drascula/3.flac")[0] == audio.pop("drascula/3.flac")[0]
    assert again == audio


def test_a_lost_manifest_is_made_again(full_archive: Archive, options: Options) -> None:
    first = run(mini_recipe(), options)
    audio = snapshot(options.output / "audio")
    (options.output / "manifest.tsv").unlink()
    assert run(mini_recipe(), options) == first
    assert snapshot(options.output / "audio") == audio


def test_lists_follow_a_moved_folder(
    full_archive: Archive, options: Options, tmp_path: Path
) -> None:
    run(mini_recipe(), options)
    moved = replace(options, output=tmp_path / "moved")
    shutil.move(options.output, moved.output)
    run(mini_recipe(), moved)
    lines = (moved.output / "lists/tuxpaint.test.wav_list").read_text().splitlines()
    assert lines == [str(tmp_path / "moved/audio/tuxpaint/birds_thanks.flac")]


def miscounted(recipe: Recipe, test: int) -> Recipe:
    first, *others = recipe.corpora
    wrong = replace(first, counts={**first.counts, "test": test})
    return replace(recipe, corpora=(wrong, *others))


def test_a_missing_utterance_is_an_error(full_archive: Archive, options: Options) -> None:
    wrong = miscounted(mini_recipe(), test=3)
    with pytest.raises(
        DataError, match=r"^asterisk: test has 2 utterances, expected 3 \(-1\); delete"
    ):
        run(wrong, options)
    assert not list(options.output.rglob("*.flac"))


def test_counts_of_unused_splits_do_not_matter(full_archive: Archive, options: Options) -> None:
    some = replace(options, corpora=("asterisk",), splits=("train",))
    assert len(run(miscounted(mini_recipe(), test=3), some)) == 2


def test_another_version_may_count_differently(
    full_archive: Archive, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rows = run(miscounted(mini_recipe(version="0.9-1"), test=3), options)
    assert len(rows) == len(EXPECTED)
    assert "asterisk: test has 2 utterances, expected 3" in caplog.text
    assert "1.0-1 (counted with 0.9-1)" in caplog.text


def test_another_version_may_not_lose_a_split() -> None:
    corpus = mini_recipe(version="0.9-1").corpora[0]
    packages = [Package(name, "1.0-1", 1, "0" * 64) for name in corpus.reader.packages]
    with pytest.raises(DataError, match=r"dev has 0 utterances, expected 1 \(-1\)"):
        check_counts(corpus, packages, {"train": 2, "test": 2}, SPLITS)


def test_audio_of_older_packages_is_not_kept(full_archive: Archive, options: Options) -> None:
    run(mini_recipe(), options)
    stale = options.output / "audio/asterisk/digits_1.flac"
    soundfile.write(stale, np.zeros(99), 16_000)
    (options.output / "audio/asterisk/vm-red.flac").unlink()
    content = asterisk_packages()["asterisk-core-sounds-en"] + b"\n"
    full_archive.add("asterisk-core-sounds-en", content)
    rows = run(mini_recipe(), options)
    assert names(rows) == EXPECTED
    assert soundfile.info(stale).frames == 9600


def test_a_leak_stops_the_run(
    full_archive: Archive, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Planted: "Thank you." of Asterisk stays in test, "“Thank you!”" of Tux Paint goes to train.
    monkeypatch.setattr(
        recipe_module, "split_of", lambda text: "train" if "“" in text else split_of(text)
    )
    asterisk, tuxpaint, drascula = mini_recipe().corpora
    moved = replace(tuxpaint, counts={"train": 2, "dev": 1, "test": 0})
    with pytest.raises(DataError, match=r"'thank you' is on two sides.*tuxpaint/birds_thanks"):
        run(replace(mini_recipe(), corpora=(asterisk, moved, drascula)), options)
    rows = read_manifest(options.output / "manifest.tsv")
    assert {row.corpus for row in rows} == {"asterisk"}


def test_ids_may_not_collide(full_archive: Archive, options: Options) -> None:
    content = {}
    sounds = {f"{SOUNDS}/{name}.g722": g722(tone(1.0, 16_000)) for name in ("a/b", "a_b")}
    content["asterisk-core-sounds-es-g722"] = tree_deb(sounds)
    for language in ("es", "en"):
        package = f"asterisk-core-sounds-{language}"
        path = f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
        content[package] = tree_deb({path: transcript("a/b: hello\na_b: bye bye\n")})
    for name, package_content in content.items():
        full_archive.add(name, package_content)
    with pytest.raises(DataError, match="'a_b'"):
        run(mini_recipe(), options)


def test_two_recipes_can_share_a_work_folder(
    full_archive: Archive, options: Options, tmp_path: Path
) -> None:
    keeping = replace(options, corpora=("tuxpaint",), keep_packages=True)
    run(mini_recipe(), keeping)
    tuxpaint = mini_recipe().corpora[1]
    reader = TuxpaintReader("fr", "en", "paul")
    french = replace(tuxpaint, reader=reader, counts={"train": 2, "dev": 1, "test": 1})
    rows = run(Recipe("fr-en", "fr", "en", (french,)), replace(keeping, output=tmp_path / "fr"))
    assert {row.src_text for row in rows} == {"x"}
    assert full_archive.downloads == ["tuxpaint-stamps-default=1.0-1"]


def test_a_folder_of_another_recipe_is_left_alone(full_archive: Archive, options: Options) -> None:
    run(mini_recipe(), options)
    with pytest.raises(DataError, match="'es-en', expected 'fr-en'"):
        run(replace(mini_recipe(), name="fr-en"), options)
    (options.output / "recipe.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        run(mini_recipe(), options)


def test_other_files_in_the_work_folder_stay(full_archive: Archive, options: Options) -> None:
    mine = options.work / "packages/mine.deb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    run(mini_recipe(), options)
    assert [path for path in options.work.rglob("*") if path.is_file()] == [mine]


def test_keep_packages(full_archive: Archive, options: Options) -> None:
    run(mini_recipe(), replace(options, keep_packages=True))
    assert len(list((options.work / "packages").glob("*.deb"))) == 6


@pytest.mark.parametrize("corpora", [("asterisk", "tatoeba"), ()])
def test_unknown_corpus(options: Options, corpora: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="expected some of: asterisk, tuxpaint, drascula"):
        run(mini_recipe(), replace(options, corpora=corpora))


def test_resampling_keeps_full_scale_in_range() -> None:
    square = np.sign(tone(0.5, 44_100, 100.0)).astype(np.float32)
    samples = to_sample_rate(square, 44_100)
    assert (samples.size, str(samples.dtype)) == (8_000, "float32")
    assert np.abs(samples).max() == 1.0


def test_texts_are_spelled_alike_where_some_corpora_have_no_accents(
    full_archive: Archive, options: Options
) -> None:
    recipe = mini_recipe()
    run(replace(recipe, unmarked=frozenset({recipe.source})), options)
    tables = [options.output / name for name in ("manifest.tsv", "train.tsv")]
    plain = [read_manifest(table) for table in tables]
    lists = [path.read_text("utf-8") for path in (options.output / "lists").glob("*.source_text")]
    assert not any(marked(row.src_text) for rows in plain for row in rows)
    assert not any(map(marked, lists))
    # The same folder by a recipe that leaves texts as they are.
    shutil.rmtree(options.output)
    run(recipe, options)
    before = {row.id: row for row in read_manifest(tables[0])}
    changed = [row for row in plain[0] if row.src_text != before[row.id].src_text]
    assert changed
    assert all(marked(before[row.id].src_text) for row in changed)
    assert all(row.tgt_text == before[row.id].tgt_text for row in plain[0])


def marked(text: str) -> bool:
    return any(letter in text for letter in "áéíóúüñÁÉÍÓÚÜÑ")
