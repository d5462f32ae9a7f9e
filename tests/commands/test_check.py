"""``echostream check``: what is wrong with recordings is said before a run, with their names."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echostream.commands.check import main
from tests.audio.signals import speech_like

SPEECH = speech_like(1.0)
FILES = {
    "good.wav": SPEECH,
    "six.wav": np.zeros((800, 6)),
    "silent.wav": np.zeros(16_000),
    "loud.wav": np.clip(20 * SPEECH, -1, 1),
    "antiphase.wav": np.stack((SPEECH, -SPEECH), axis=1),
    "short.wav": SPEECH[:800],
    "text.wav": None,
    "nan.wav": np.where(np.arange(800) == 7, np.nan, 0),
}


@pytest.fixture
def wav_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, samples in FILES.items():
        if samples is None:
            Path(name).write_text("no audio\n")
        else:
            soundfile.write(name, samples, 16_000, subtype="FLOAT" if "nan" in name else "PCM_16")
    Path("wav_list").write_text("\n".join((*FILES, "absent.wav")) + "\n")
    return Path("wav_list")


def test_every_recording_is_judged_and_named(
    wav_list: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(wav_list), "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_name = {row["path"]: row for row in rows}
    assert list(by_name) == [*FILES, "absent.wav"]
    good = by_name["good.wav"]
    assert (good["seconds"], good["sample_rate"], good["channels"]) == (1.0, 16_000, 1)
    assert (good["error"], good["remarks"], good["clipped"]) == ("", [], 0)
    assert good["peak_db"] == pytest.approx(20 * np.log10(np.abs(SPEECH).max()), abs=0.01)
    for name, remark in (
        ("silent.wav", "silent"),
        ("loud.wav", "clipped"),
        ("antiphase.wav", "channels cancel"),
        ("short.wav", "shorter than"),
    ):
        assert by_name[name]["error"] == "" and remark in by_name[name]["remarks"][0]
    for name, error in (
        ("six.wav", "6 channels"),
        ("text.wav", "cannot be decoded"),
        ("nan.wav", "sample 7 is nan"),
        ("absent.wav", "No such file"),
    ):
        assert error in by_name[name]["error"] and name in by_name[name]["error"]

    assert main([str(wav_list)]) == 1
    table = capsys.readouterr().out.splitlines()
    assert len(table) == len(FILES) + 3
    assert "4 cannot be used, 4 with a remark" in table[-1]


def test_a_good_list_has_status_0_and_a_marked_one_is_refused(
    wav_list: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav_list.write_bytes(b"good.wav\r\n")
    assert main([str(wav_list)]) == 0
    wav_list.write_bytes(b"\xef\xbb\xbfgood.wav\n")
    assert main([str(wav_list)]) == 1
    captured = capsys.readouterr()
    assert "byte-order mark" in captured.err and "0 cannot be used" in captured.out
    for wrong in (b"", b"\xff\xfe"):
        wav_list.write_bytes(wrong)
        assert main([str(wav_list)]) == 1
    assert main(["nothing"]) == 1
    assert "cannot read the list of recordings nothing" in capsys.readouterr().err
