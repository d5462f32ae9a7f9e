"""Words with times as subtitles."""

import json
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echostream.hosts.transcript import WrittenWord, cues, transcript, words_of
from echostream.session import Session
from tests.small_system import audio

words_of_a_stream = st.lists(
    st.tuples(st.text("ab.?é<&-", min_size=1, max_size=30), st.integers(0, 4_000))
).map(
    lambda drawn: [
        # A decoder with attention may look back a little.
        WrittenWord(text, max(0, sum(gap for _, gap in drawn[: n + 1]) - 300 * (n % 2)), 0)
        for n, (text, _) in enumerate(drawn)
    ]
)


@given(words_of_a_stream)
def test_subtitles_hold_all_words_in_order_and_do_not_overlap(words: list[WrittenWord]) -> None:
    shown = cues(words)
    assert " ".join(cue.text for cue in shown) == " ".join(word.text for word in words)
    for before, after in zip(shown, shown[1:], strict=False):
        assert before.end_ms <= after.begin_ms
    assert all(0 <= cue.begin_ms < cue.end_ms and len(cue.text) <= 84 for cue in shown)
    srt, vtt = transcript(words, "srt"), transcript(words, "vtt")
    times = re.findall(r"^(\d\d):(\d\d):(\d\d)([,.])(\d{3}) --> ", srt + vtt, re.MULTILINE)
    begins = [(int(h) * 60 + int(m)) * 60_000 + int(s) * 1000 + int(ms) for h, m, s, _, ms in times]
    assert begins == [cue.begin_ms for cue in shown] * 2
    assert vtt.startswith("WEBVTT\n") and "<" not in vtt.replace("-->", "")
    told = json.loads(transcript(words, "json", file="a.wav"))
    assert [word["text"] for word in told["words"]] == [word.text for word in words]


def test_a_sentence_and_a_pause_end_a_subtitle() -> None:
    said = [("It", 300), ("rains.", 700), ("Come", 1_000), ("in", 1_200), ("now", 4_000)]
    words = [WrittenWord(text, end, end) for text, end in said]
    assert transcript(words, "srt") == (
        "1\n00:00:00,000 --> 00:00:00,700\nIt rains.\n\n"
        "2\n00:00:00,700 --> 00:00:01,200\nCome in\n\n"
        "3\n00:00:03,500 --> 00:00:04,000\nnow\n"
    )
    assert transcript([], "vtt") == "WEBVTT\n" and transcript([], "txt") == "\n"


def test_words_of_a_stream_have_their_times(translate) -> None:  # type: ignore[no-untyped-def]
    session = Session(translate(policy="wait-k", policy_options="k=2,stride=1"))
    samples = audio(3.0, 4)
    step = session.push(samples, 16_000)
    found = words_of((*step.turns, *session.finish().turns))
    assert len(found) > 3
    ends = np.array([word.end_ms for word in found])
    assert (np.diff(ends) >= 0).all() and ends[0] > 0
    # A word waits for the one that completes it, never for less audio than it is in.
    assert all(word.end_ms <= word.written_ms <= 3_000 for word in found)
