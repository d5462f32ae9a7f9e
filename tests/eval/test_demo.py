"""The demo's listing, and what it gives SimulEval."""

from pathlib import Path

from eval.demo import CLIPS, listing, lists
from tests.scoring.logs import utterance


def test_listing() -> None:
    said, silent = utterance([320, 640], 1000, 40), utterance([], 700, 1, index=3)
    text = listing([said, silent]).splitlines()
    assert text[:2] == ["[0] a.wav", "  reference   " + " ".join(["word"] * 17)]
    assert all(line.startswith(" " * 14 + "word") for line in text[2:4])
    assert text[4:7] == [
        "  hypothesis  word word",
        "  written     first word at 320 ms, last at 640 ms, source 1000 ms",
        "",
    ]
    assert text[9:11] == ["  hypothesis  (empty)", "  written     no word, source 700 ms"]


def test_references_are_as_the_model_writes(tmp_path: Path) -> None:
    wav_list, targets = lists(CLIPS / "wav_list", CLIPS / "target", tmp_path)
    assert all(Path(line).exists() for line in wav_list.read_text().splitlines())
    text = targets.read_text()
    assert text == text.lower() and "." not in text and text.count("\n") == 6
