"""Whole runs of a miniature recipe, and the command ``echostream data``."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from echostream.commands import data as cli
from echostream.errors import DataError
from echostream.training.corpus.conversion import convert, to_sample_rate
from echostream.training.corpus.manifest import read_manifest
from echostream.training.corpus.split import SPLITS, split_of
from echostream.training.recipes import recipe as recipe_module
from echostream.training.recipes.language_pairs import RECIPES
from echostream.training.recipes.recipe import Options, Recipe, run
from echostream.training.recipes.tuxpaint import Tuxpaint

from .conftest import needs_dpkg
from .packages import (
    EXPECTED,
    SOUNDS,
    VOICE,
    Archive,
    asterisk_packages,
    asterisk_texts,
    g722,
    mini_recipe,
    names,
    tone,
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
    lengths = {"agent-pass": 1.5, "birds_red": 0.8, "VB1": 1.0}
    pitches = {"birds_red": 500.0, "birds_thanks": 700.0, "animals_yes": 300.0}
    for row in rows:
        info = soundfile.info(output / row.audio)
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")
        assert (info.frames, round(info.frames / 16_000, 4)) == (row.num_samples, row.seconds)
        assert row.split == split_of(row.tgt_text)
        assert row.seconds == pytest.approx(lengths.get(row.id, row.seconds), abs=0.001)
        samples, _ = soundfile.read(output / row.audio)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
        loudest = spectrum.argmax() * 16_000 / samples.size
        assert loudest == pytest.approx(pitches.get(row.id, 440.0), abs=2)
        # Tux Paint's recordings have two channels, one of them silent.
        amplitude = 0.25 if row.corpus == "tuxpaint" else 0.5
        assert np.sqrt(2 * np.mean(samples**2)) == pytest.approx(amplitude, rel=0.05)
    assert {row.speaker for row in rows if row.corpus == "asterisk"} == {VOICE}
    texts = {row.id: (row.src_text, row.tgt_text) for row in rows}
    assert texts["agent-pass"] == ("Por favor: ingrese su clave", "Welcome")
    assert texts["digits_1"] == ("uno", "one")
    assert texts["birds_thanks"] == ("¡Gracias!", "“Thank you!”")
    assert texts["VB1"] == ("GRACIAS, SEÑOR", "THANK YOU")
    assert len(list((output / "lists").iterdir())) == 3 * 3 * 3
    assert all(
        Path(line).is_file()
        for path in (output / "lists").glob("*.wav_list")
        for line in path.read_text().splitlines()
    )
    assert "The Vampire Strikes Back" in (output / "LICENCES.txt").read_text()
    assert (output / "licences/drascula.readme.txt").read_text() == "readme\n"
    assert not options.work.exists()
    assert not list(output.rglob("*.part"))


def test_a_second_run_makes_only_what_is_missing(full_archive: Archive, options: Options) -> None:
    first = run(mini_recipe(), options)
    downloads, audio = full_archive.downloads, snapshot(options.output / "audio")
    (options.output / "audio/drascula/3.flac").unlink()
    assert run(mini_recipe(), options) == first
    again = snapshot(options.output / "audio")
    assert again.pop("drascula/3.flac")[0] == audio["drascula/3.flac"][0]
    assert again.items() <= audio.items()
    (options.output / "manifest.tsv").unlink()
    assert run(mini_recipe(), options) == first
    assert again.items() <= snapshot(options.output / "audio").items()
    downloads, audio = full_archive.downloads, snapshot(options.output / "audio")
    full_archive.fail("E: no network")
    # The lists name the folder, which may have been moved.
    moved = replace(options, output=options.output.with_name("moved"))
    shutil.move(options.output, moved.output)
    assert run(mini_recipe(), moved) == first
    assert full_archive.downloads == downloads
    assert snapshot(moved.output / "audio") == audio
    lines = (moved.output / "lists/tuxpaint.test.wav_list").read_text().splitlines()
    assert lines == [str(moved.output / "audio/tuxpaint/birds_thanks.flac")]


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


def test_other_counts_are_named_and_an_empty_split_is_an_error(
    full_archive: Archive, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = mini_recipe().corpora
    wrong = replace(mini_recipe(), corpora=(replace(first, counts=(2, 1, 3)), *others))
    some = replace(options, corpora=("asterisk",), splits=("train",))
    with caplog.at_level(logging.WARNING):
        run(wrong, some)
        assert not caplog.text
        assert names(run(wrong, options)) == EXPECTED
    assert "asterisk: test has 2 utterances, expected 3" in caplog.text
    content = {f"{SOUNDS}/digits/1.g722": g722(tone(0.6, 16_000))}
    full_archive.add("asterisk-core-sounds-es-g722", tree_deb(content))
    (options.output / "audio/asterisk/vm-red.flac").unlink()
    with pytest.raises(DataError, match="dev has 0 utterances, expected 1; delete"):
        run(mini_recipe(), options)


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
        recipe_module,
        "split_of",
        lambda text: "train" if text == "“Thank you!”" else split_of(text),
    )
    some = replace(options, splits=("train", "dev"))
    run(mini_recipe(), replace(options, corpora=("asterisk",)))
    with pytest.raises(DataError, match=r"'thank you' is on two sides.*tuxpaint/birds_thanks"):
        run(mini_recipe(), some)
    rows = read_manifest(options.output / "manifest.tsv")
    assert {row.corpus for row in rows} == {"asterisk"}


def test_ids_may_not_collide(full_archive: Archive, options: Options) -> None:
    sounds = {f"{SOUNDS}/{name}.g722": g722(tone(1.0, 16_000)) for name in ("a/b", "a_b")}
    lines = "a/b: hello\na_b: bye bye\n"
    content = {"asterisk-core-sounds-es-g722": sounds, **asterisk_texts(lines, lines)}
    for name, files in content.items():
        full_archive.add(name, tree_deb(files))
    with pytest.raises(DataError, match="'a_b'"):
        run(mini_recipe(), options)


def test_two_recipes_can_share_a_work_folder(
    full_archive: Archive, options: Options, tmp_path: Path
) -> None:
    mine = options.work / "packages/mine.deb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    keeping = replace(options, corpora=("tuxpaint",), keep_packages=True)
    run(mini_recipe(), keeping)
    french = Recipe("fr-en", "fr", "en", (Tuxpaint("fr", "en", (2, 1, 1)),))
    rows = run(french, replace(keeping, output=tmp_path / "fr", keep_packages=False))
    assert {row.src_text for row in rows} == {"x"}
    assert full_archive.downloads == ["tuxpaint-stamps-default=1.0-1"]
    assert [path for path in options.work.rglob("*.deb")] == [mine]
    with pytest.raises(DataError, match="'es-en', expected 'fr-en'"):
        run(french, keeping)
    (options.output / "recipe.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        run(mini_recipe(), options)


def test_resampling_keeps_full_scale_in_range() -> None:
    square = np.sign(tone(0.5, 44_100, 100.0)).astype(np.float32)
    samples = to_sample_rate(square, 44_100)
    assert (samples.size, str(samples.dtype)) == (8_000, "float32")
    assert np.abs(samples).max() == 1.0


@pytest.fixture
def command(full_archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setitem(RECIPES, "es-en", mini_recipe())
    monkeypatch.chdir(tmp_path)
    return full_archive


def test_command(command: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["es-en"]) == 0
    assert names(read_manifest(tmp_path / "data/es-en/manifest.tsv")) == EXPECTED
    out = capsys.readouterr().out
    assert "data/es-en" in out
    assert "11 (0.2)" in out  # 11 utterances, 4.6 + 2.4 + 3.0 s are 0.2 min
    arguments = ["es-en", "--output", "o", "--work", "w", "--keep-packages", "--jobs", "2"]
    assert cli.main([*arguments, "--corpora", "asterisk, drascula", "--splits", "dev,test"]) == 0
    assert names(read_manifest(tmp_path / "o/manifest.tsv")) == [
        name for name in EXPECTED if "tuxpaint" not in name and "train" not in name
    ]
    assert len(list((tmp_path / "w/packages").glob("*.deb"))) == 5
    (tmp_path / "file").write_text("in the way")
    command.fail("E: Temporary failure resolving 'deb.debian.org'\n")
    capsys.readouterr()
    for wrong in (["--output", "file/below"], ["--output", "new"], ["--corpora", "tatoeba"]):
        assert cli.main(["es-en", *wrong]) == 1
        message = capsys.readouterr().err
        assert message.startswith("echostream data: error: ") and message.count("\n") == 1


def test_accents_are_left_out_unless_they_are_wanted(
    command: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "es-en", replace(mini_recipe(), unmarked=frozenset({"es"})))
    for options, yes, sir in (([], "Si.", "SENOR"), (["--keep-marks"], "Sí.", "SEÑOR")):
        assert cli.main(["es-en", "--output", "o", *options]) == 0
        rows = {row.id: row for row in read_manifest(Path("o/manifest.tsv"))}
        assert rows["VB1"].src_text == f"GRACIAS, {sir}" and "“" in rows["birds_thanks"].tgt_text
        assert Path("o/lists/drascula.test.source_text").read_text() == f"GRACIAS, {sir}\n"
        assert yes in {row.src_text for row in read_manifest(Path("o/train.tsv"))}
        # What the tables have lost does not come back, and what they have is not lost by mistake.
        other = [] if options else ["--keep-marks"]
        assert cli.main(["es-en", "--output", "o", *other]) == 1
        assert f"o was made {'with' if options else 'without'} --keep-marks" in (
            capsys.readouterr().err
        )
        shutil.rmtree("o")
