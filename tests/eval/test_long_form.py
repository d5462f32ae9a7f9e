"""A long recording from four clips: what it holds, and a run that is interrupted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from echostream.constants import SAMPLE_RATE
from echostream.scoring.sentences import read_sentences
from echostream.session import Session, SystemOptions, build_translator
from eval import alignment, long_form, one_by_one, pauses
from tests.eval.corpora import write_corpus
from tests.small_system import WORDS, make_whisper


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four tones, two of each of two speakers."""
    texts = [" ".join(WORDS[number : number + 4]) for number in range(4)]
    tones = [np.sin(np.arange(16_000 + 4000 * n) * 0.1 * (n + 1)) / 10 for n in range(4)]
    write_corpus(tmp_path, zip(tones, texts, texts, strict=True), speaker="abab")
    return tmp_path


def arguments(data: Path, checkpoint: Path, output: str, *more: str) -> list[str]:
    return ["--data", str(data), "--minutes", "0.5", "--checkpoint", str(checkpoint),
        "--output", str(data / output), *more]  # fmt: skip


def test_sentences_are_where_the_list_says(data: Path, checkpoint: Path) -> None:
    quiet = arguments(data, checkpoint, "out", "--make-only", "--noise", "0")
    assert long_form.main(quiet) == 0
    samples, _ = soundfile.read(data / "out" / "recording.flac")
    assert 30 <= len(samples) / SAMPLE_RATE < 60
    sentences = read_sentences(data / "out" / "segments.yaml", data / "out" / "translations.txt")
    is_loud = np.zeros(len(samples), bool)
    for each in sentences:
        begin, end = (round(time * SAMPLE_RATE / 1000) for time in (each.offset, each.end))
        number = WORDS.index(each.text.split()[0])
        assert abs(end - begin - (16_000 + 4000 * number)) <= 1
        tone = np.abs(np.fft.rfft(samples[begin:end]))
        assert abs(tone.argmax() * 2 * np.pi / (end - begin) - 0.1 * (number + 1)) < 1e-3
        is_loud[begin:end] = True
    assert np.abs(samples[~is_loud]).max() < 1e-3
    assert len({each.text for each in sentences}) == 4


def test_an_interrupted_run_goes_on(
    data: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert long_form.main(arguments(data, checkpoint, "whole")) == 0
    assert long_form.main(arguments(data, checkpoint, "parts", "--make-only")) == 0
    paths = [data / name / "recording.flac" for name in ("whole", "parts")]
    assert paths[0].read_bytes() == paths[1].read_bytes()

    heard, push = [0], Session.push

    def interrupted(self: Session, *given: Any, **more: Any) -> Any:
        heard[0] += 1
        if heard[0] in (40, 70):
            raise KeyboardInterrupt
        return push(self, *given, **more)

    monkeypatch.setattr(Session, "push", interrupted)
    monkeypatch.setattr(long_form, "SAVED_EVERY_S", 0.0)
    again = arguments(data, checkpoint, "parts", "--run", "r")
    assert [long_form.main(again) for _ in range(3)] == [130, 130, 0]
    texts = [path.read_text().splitlines() for path in
        (data / "whole" / f"{checkpoint.name}-s2tt" / "metrics.jsonl",
         data / "parts" / "r" / "metrics.jsonl")]  # fmt: skip
    heard_and_said = [
        [(each.get("total_audio_processed"), each.get("generated_tokens")) for each in lines]
        for lines in ([json.loads(line) for line in text] for text in texts)
    ]
    assert heard_and_said[0] == heard_and_said[1]
    assert sum(len(words or ()) for _, words in heard_and_said[0]) > 20
    assert heard[0] == len(texts[0]) - 1 + 2  # nothing was heard twice

    printed, told = capsys.readouterr()
    assert printed.count("LongYAAL ") == 2 and printed.count("last tenth against the first") == 2
    assert told.count("long_form: interrupted; run the same command again to go on") == 2
    assert long_form.main([*again, "--pause-ms", "0"]) == 1
    assert "give --run" in capsys.readouterr().err


def test_aligned_words_beside_those_whose_recording_is_known(
    data: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alignment.main(["--data", str(data), "--system", str(checkpoint)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("4 recordings, 10 s, ") and len(lines) == 5


def test_words_that_pauses_complete(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--split", "test", "--pause-ms", "0", "300", "--checkpoint"]
    assert pauses.main([*arguments, str(checkpoint)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("4 recordings of test, 2 s after each")
    (never, *_, none, _), (early, *_, some, _) = (line.split() for line in lines)
    assert (never, none, early) == ("0", "0", "300") and int(some) > 0
    make_whisper(tmp_path / "whisper")
    assert pauses.main([*arguments, str(tmp_path / "whisper")]) == 1
    assert "has no CTC head" in capsys.readouterr().err


def test_sentences_by_themselves(
    data: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert long_form.main(arguments(data, checkpoint, "out", "--run", "r")) == 0
    own = [str(data / "out"), "--run", "r"]
    assert one_by_one.main(own) == 0
    log = data / "out" / "r" / "one_by_one.jsonl"
    written = log.read_text()
    samples, _ = soundfile.read(data / "out" / "recording.flac", dtype="float32")
    sentences = read_sentences(data / "out" / "segments.yaml", data / "out" / "translations.txt")
    said = [json.loads(line) for line in written.splitlines()]
    assert len(said) == len(sentences) and len(set(said)) > 1
    translator = build_translator(SystemOptions(checkpoint=str(checkpoint)))
    for sentence, text in zip(sentences[:6], said, strict=False):
        begin = round((sentence.offset - 75) * 16)
        cut = samples[begin : round((sentence.end + 75) * 16)]
        session = Session(translator)
        words = [*session.push(cut[:7777], SAMPLE_RATE).words]
        words += session.push(cut[7777:], SAMPLE_RATE, is_final=True).words
        assert " ".join(words) == text

    # Half a line was written when a run was interrupted.
    log.write_text(written[:-3])
    assert one_by_one.main(own) == 0
    assert log.read_text() == written
    first, second = capsys.readouterr().out.rsplit("sentences", 2)[1:]
    assert "one by one" in first and first.split("\n")[1:3] == second.split("\n")[1:3]

    assert one_by_one.main([own[0], "--run", "other"]) == 1
    assert "expected a finished run" in capsys.readouterr().err
