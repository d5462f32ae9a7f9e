"""The table of results, from a corpus to Markdown."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.manifest import read_manifest
from eval.recordings import join_recordings
from eval.results import main
from eval.sweep.system import parse_system
from tests.eval.corpora import write_corpus
from tests.small_system import audio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five recordings of two corpora, one of them without a translation."""
    texts = ["the cat sat", "on a mat", "", "it ran home", "My dog."]
    lengths = (1.0, 1.25, 1.5, 1.75, 1.75)
    recordings = [
        (audio(length, number), "The hills, and my dog!", text)
        for number, (length, text) in enumerate(zip(lengths, texts, strict=True))
    ]
    write_corpus(tmp_path, recordings, corpus=("one", "one", "one", "two", "two"))
    return tmp_path


def test_table_has_every_corpus_and_chunk(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.symlink_to(checkpoint)
    systems = [str(checkpoint), f"{other}@max_future_frames=chunk"]
    arguments = [*systems, "--data", str(data), "--output", str(out), "--jobs", "1"]
    assert main([*arguments, "--chunks", "160", "320"]) == 0
    printed = capsys.readouterr().out
    details = json.loads((out / "results.json").read_text())
    shown = {(f["checkpoint"], f["corpus"], f["chunk_ms"]) for f in details["figures"]}
    names = (checkpoint.name, "other@max_future_frames=chunk")
    assert shown == {(n, c, ms) for n in names for c in ("one", "two", "all") for ms in (160, 320)}
    counts = {f["corpus"]: f["recordings"] for f in details["figures"]}
    assert counts == {"one": 2, "two": 2, "all": 4}, "what has no translation is left out"
    whole = next(f for f in details["figures"] if f["corpus"] == "all")
    assert whole["WER"][0] > 0 and whole["BLEU"][1] <= whole["BLEU"][0] <= whole["BLEU"][2]
    # The same weights twice: no figure that is not a time differs.
    same = [t for t in details["tests"] if t["figure"] in ("WER", "BLEU", "chrF", "LAAL")]
    assert same and all(t["p"] == 1.0 and t["difference"] == 0 for t in same)
    assert printed.count("\n| ") > 20


def test_joined_table(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """The corpus of which one recording is left has no row of its own."""
    out = tmp_path / "out"
    arguments = [str(checkpoint), "--data", str(data), "--output", str(out), "--chunks", "320"]
    assert main([*arguments, "--join", "1.1", "--jobs", "1"]) == 0
    figures = json.loads((out / "results.json").read_text())["figures"]
    assert {f["corpus"]: f["recordings"] for f in figures} == {"two": 2, "all": 3}


def test_options_of_a_system(capsys: pytest.CaptureFixture[str]) -> None:
    found = parse_system("some/where@backend=openvino,precision=int8")
    assert found.name == "where@backend=openvino,precision=int8"
    assert (found.options.checkpoint, found.options.precision) == ("some/where", "int8")
    assert parse_system("a@right_context_ms=640,pause_ms=0").options.right_context_ms == 640
    with pytest.raises(argparse.ArgumentTypeError, match="'soon'; expected a whole number"):
        parse_system("a@pause_ms=soon")
    for wrong in ("a@task=asr", "a@precision", "a@threshold=1"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
            parse_system(wrong)
    with pytest.raises(SystemExit):
        main(["a@encoder_mode=fast"])
    assert "'fast'" in capsys.readouterr().err


def test_what_cannot_be_measured_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["checkpoints/tiny-es-en", "--data", str(tmp_path)]) == 1
    assert "echostream data" in capsys.readouterr().err
    assert main(["a/best", "b/best", "--data", str(tmp_path)]) == 1
    assert "best, best; expected names that differ" in capsys.readouterr().err


def test_joined_recordings(data: Path, tmp_path: Path) -> None:
    rows = [row for row in read_manifest(data / "manifest.tsv") if row.tgt_text]
    # 1.0 and 1.25 s, then 1.75 s and 1.75 s.
    joined = join_recordings(rows, data, 1.1, tmp_path / "joined")
    assert [row.corpus for row in joined] == ["one", "two", "two"]
    assert joined[0].tgt_text == "the cat sat on a mat"
    assert [row.tgt_text for row in joined[1:]] == ["it ran home", "My dog."]
    samples, rate = soundfile.read(tmp_path / "joined" / joined[0].audio, dtype="float32")
    parts = [soundfile.read(data / f"{n}.wav", dtype="float32")[0] for n in (0, 1)]
    assert rate == SAMPLE_RATE and joined[0].num_samples == len(samples)
    assert np.abs(samples - np.concatenate(parts)).max() < 1e-4
    # The rest of a corpus goes to its last group, and a corpus that is too short is left out.
    for seconds, corpora in ((2.0, ["one", "two"]), (3.0, ["two"])):
        again = join_recordings(rows, data, seconds, tmp_path / "joined")
        assert [row.corpus for row in again] == corpora
        for row in again:
            assert soundfile.info(tmp_path / "joined" / row.audio).frames == row.num_samples
            assert row.num_samples == sum(r.num_samples for r in rows if r.corpus == row.corpus)
    with pytest.raises(DataError, match="100 s"):
        join_recordings(rows, data, 100.0, tmp_path / "100")
