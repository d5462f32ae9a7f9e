from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.scoring.problems import check_speech
from echostream.scoring.quality import QualityOptions
from echostream.scoring.scores import score_speech
from echostream.scoring.speech import (
    SPEECH_METRICS,
    SpeechInstance,
    parse_speech,
    speech_latency,
    speech_token_delay,
)


def line(**changes: Any) -> dict[str, Any]:
    return {
        "index": 0,
        "prediction": "wavs/0_pred.wav",
        "delays": [320.0, 640.0, 1000.0],
        "durations": [200.0, 400.0, 100.0],
        "prediction_offset": 320.0,
        "elapsed": [],
        "intervals": [[320.0, 200.0], [640.0, 400.0], [1040.0, 100.0]],
        "prediction_length": 0.82,
        "source_length": 1000.0,
        "reference": "one two three",
        "source": "a.wav",
        **changes,
    }


def test_a_line_is_read_as_it_is() -> None:
    ins = parse_speech(line(), "here")
    assert ins.faults == ()
    assert ins.intervals == ((320, 520), (640, 1040), (1040, 1140))
    assert ins.silences == (120,)


def test_figures_worked_out_by_hand() -> None:
    ins = parse_speech(line(), "here")
    found = {metric.name: speech_latency(ins, metric) for metric in SPEECH_METRICS}
    # ATD: source tokens end at 300, 320 | 620, 640 | 940, 1000. Target: 520 (token 1 for 300);
    # before write 2 one target, two source: 940 (320), 1040 (620); before write 3 three targets,
    # four source: token 4: 1140 - 640.
    assert found == {
        "StartOffset": 320,
        "EndOffset": 140,
        "ATD": (220 + 620 + 420 + 500) / 4,
        "EndRatio": 1.14,
        "NumWrites": 3,
        "DiscontinuitySum": 120,
        "DiscontinuityAve": 120,
        "DiscontinuityNum": 1,
    }


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"delays": [320.0, 640.0]}, "count-mismatch"),
        ({"delays": [320.0, 640.0, 500.0]}, "decreasing-delays"),
        ({"durations": [1, 2, -3]}, "bad-times"),
        ({"durations": "long"}, "bad-times"),
        ({"source_length": float("nan")}, "bad-times"),
    ],
)
def test_faults(changes: dict[str, Any], kind: str) -> None:
    ins = parse_speech(line(**changes), "here")
    assert [fault.kind for fault in ins.faults] == [kind]
    assert ins.delays == ()
    (found,) = check_speech([ins])
    assert (found.kind, found.is_error) == (kind, True)
    assert all(speech_latency(ins, metric) is None for metric in SPEECH_METRICS)


def test_lines_that_are_no_instance() -> None:
    with pytest.raises(DataError, match="^here: index is 'a'"):
        parse_speech(line(index="a"), "here")
    without = line()
    del without["durations"]
    with pytest.raises(DataError, match="lacks durations"):
        parse_speech(without, "here")


def test_silence() -> None:
    silent = parse_speech(line(delays=[], durations=[], intervals=[]), "here")
    assert silent.faults == ()
    assert [problem.kind for problem in check_speech([silent])] == ["empty-prediction"]
    scores = score_speech([silent])
    assert set(scores.values.values()) == {None}


def test_transcripts_are_scored() -> None:
    ins = parse_speech(line(), "here")
    scores = score_speech([ins], 320, ["one two"], QualityOptions(("wer", "bleu")))
    assert scores.values["ASR_WER"] == pytest.approx(100 / 3)
    assert [figure.name for figure in scores.figures[:2]] == ["ASR_WER", "ASR_BLEU"]
    assert scores.figures[1].signature.startswith("ASR_BLEU|nrefs:1|")


@st.composite
def spoken(draw: st.DrawFn) -> SpeechInstance:
    number = draw(st.integers(1, 8))
    steps = sorted(draw(st.lists(st.integers(1, 12), min_size=number, max_size=number)))
    durations = draw(
        st.lists(
            st.sampled_from([40.0, 300.0, 310.0, 600.0, 1234.0]), min_size=number, max_size=number
        )
    )
    delays = tuple(320.0 * step for step in steps)
    return SpeechInstance(0, "0.wav", "a b", delays, tuple(durations), delays[-1], "a.wav")


@settings(deadline=None, max_examples=100)
@given(spoken())
def test_atd_is_what_simuleval_computes_of_a_run(ins: SpeechInstance) -> None:
    scorers = pytest.importorskip("simuleval.evaluator.scorers.latency_scorer")
    # Neither text nor a line of a log, so that it is scored as speech.
    run = SimpleNamespace(delays=list(ins.delays), durations=list(ins.durations))
    expected = scorers.LATENCY_SCORERS_DICT["ATD"]()({0: run})
    assert speech_token_delay(ins) == pytest.approx(expected, rel=1e-9, abs=1e-6)
