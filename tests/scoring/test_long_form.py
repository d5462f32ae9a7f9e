"""Words given to sentences: by hand, by definition, and as OmniSTEval does it."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.commands.score import main
from echostream.errors import DataError
from echostream.scoring.instance import Instance
from echostream.scoring.long_form import score_long
from echostream.scoring.quality import edits
from echostream.scoring.resegmentation import Rule, sentence_of_words
from echostream.scoring.sentences import Sentence, read_sentences, write_sentences

from .logs import record, write_log

WORDS = st.sampled_from(["a", "ab", "abc", "cab", "dog", "god", "Good", ".", ",", "e"])
TEXTS = st.lists(st.lists(WORDS, max_size=4), min_size=1, max_size=5).filter(any)


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS, max_size=14), TEXTS, st.booleans())
def test_soft_alignment_is_omnistevals(
    words: list[str], sentences: list[list[str]], is_exact: bool
) -> None:
    alignment = pytest.importorskip("omnisteval.alignment")
    references = [
        alignment.Word(word.lower(), seq_id=number)
        for number, sentence in enumerate(sentences)
        for word in sentence
    ]
    said = [alignment.Word(word.lower(), original=place) for place, word in enumerate(words)]
    kept = alignment._process_single_recording((0, references, said, is_exact))
    ours = sentence_of_words(words, sentences, is_exact=is_exact)
    assert len(ours) == len(words) and ours == sorted(ours)
    theirs = {word.original: word.seq_id for word in kept}
    assert ours == [theirs.get(place, -1) for place in range(len(words))]


class NoPool:
    """OmniSTEval starts a process a core for each call."""

    def __enter__(self) -> NoPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(lambda work, items: [work(item) for item in items])


TIMES = st.integers(0, 9000).map(float)
TALKS = st.tuples(st.lists(st.tuples(WORDS, TIMES, TIMES), min_size=1, max_size=14), TEXTS)


@settings(deadline=None, max_examples=100)
@given(st.lists(TALKS, min_size=1, max_size=3), st.data())
def test_figures_are_omnistevals(
    talks: list[tuple[list[tuple[str, float, float]], list[list[str]]]], draw: st.DataObject
) -> None:
    resegment = pytest.importorskip("omnisteval.resegment")
    scoring = pytest.importorskip("omnisteval.scoring")
    word, alignment = resegment.Word, sys.modules["omnisteval.alignment"]
    recordings, sentences, references, said, segments = [], [], [], [], []
    for number, (words, texts) in enumerate(talks):
        delays = sorted(at for _, at, _ in words)
        spent = list(itertools.accumulate(cost / 10 for *_, cost in words))
        elapsed = [delay + cost for delay, cost in zip(delays, spent, strict=True)]
        text = " ".join(each for each, *_ in words)
        recordings.append(Instance(number, text, "", tuple(delays), tuple(elapsed), 9000.0,
            f"{number}.wav"))  # fmt: skip
        said.append([word(each, emission_cu=cu, emission_ca=ca)
            for each, cu, ca in zip(text.split(), delays, elapsed, strict=True)])  # fmt: skip
        bounds = sorted(draw.draw(st.sets(st.integers(0, 9000), min_size=2 * len(texts),
            max_size=2 * len(texts))))  # fmt: skip
        references.append([])
        for text, begin, end in zip(texts, bounds[::2], bounds[1::2], strict=True):
            references[-1] += [word(each.lower(), seq_id=len(sentences)) for each in text]
            sentences.append(Sentence(f"{number}.wav", begin, end - begin, " ".join(text)))
            segments.append({"offset": begin, "duration": end - begin,
                "time_to_recording_end": bounds[-1] - begin})  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "Pool", NoPool)
        texts_of = [sentence.text for sentence in sentences]
        instances, _ = resegment.resegment(references, said, segments, texts_of)
    expected, *_ = scoring.evaluate_instances(instances)
    ours = score_long(recordings, sentences).values
    for name, theirs in {"BLEU": "bleu", "chrF": "chrf", "LongYAAL": "long_yaal",
            "LongLAAL": "long_laal", "LongYAAL_CA": "ca_long_yaal",
            "LongLAAL_CA": "ca_long_laal"}.items():  # fmt: skip
        value = expected.get(theirs, math.nan)
        assert ours[name] == (None if math.isnan(value) else pytest.approx(value)), name


def test_no_word_is_of_a_sentence_that_begins_after_it_was_written() -> None:
    sentences = [["it", "works"], ["the", "door", "opens"], ["the", "end"]]
    words, written = ["the", "door", "the", "end"], [900.0, 2500.0, 5050.0, 5100.0]
    begins = [0.0, 2000.0, 5000.0]

    def owners(rule: Rule) -> list[int]:
        return sentence_of_words(words, sentences, rule, written=written, begins=begins)

    assert owners(Rule.SOFT) == [1, 1, 2, 2]
    assert owners(Rule.CAUSAL) == [0, 1, 2, 2]
    # A word at the very begin of a sentence was not of it.
    begins[1] = 2500.0
    assert owners(Rule.CAUSAL)[1] == 0
    recording = Instance(0, " ".join(words), "", tuple(written), (), 6000.0, "talk.wav")
    timed = [
        Sentence("talk.wav", begin, 900.0, " ".join(text))
        for begin, text in zip((0.0, 2000.0, 5000.0), sentences, strict=True)
    ]
    scores = score_long([recording], timed).values
    # LAAL by hand: 900 and 500 for the first words of two sentences; 50 for the last one's, whose
    # second is there 450 ms before an even pace. By the soft rule the first word is 1100 ms early.
    assert scores["CausalLAAL"] == pytest.approx((900 + 500 + (50 + 100 - 450) / 2) / 3)
    assert scores["LongLAAL"] == pytest.approx(((-1100 + 500 - 300) / 2 + (50 + 100 - 450) / 2) / 2)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(WORDS, TIMES), max_size=14), TEXTS, st.data())
def test_causal_alignment_is_soft_where_time_allows(
    said: list[tuple[str, float]], sentences: list[list[str]], draw: st.DataObject
) -> None:
    words, written = [word for word, _ in said], sorted(time for _, time in said)
    begins = sorted(draw.draw(st.lists(TIMES, min_size=len(sentences), max_size=len(sentences))))
    found = sentence_of_words(words, sentences, Rule.CAUSAL, written=written, begins=begins)
    assert found == sorted(found)
    assert all(own < 0 or begins[own] < at for own, at in zip(found, written, strict=True))
    soft = sentence_of_words(words, sentences)
    late = [10_000.0] * len(words)
    assert soft == sentence_of_words(words, sentences, Rule.CAUSAL, written=late, begins=begins)


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, max_size=7), TEXTS)
def test_mwer_has_the_fewest_errors_of_all_segmentations(
    words: list[str], sentences: list[list[str]]
) -> None:
    words = [word.lower() for word in words]
    sentences = [[word.lower() for word in sentence] for sentence in sentences]

    def errors(bounds: tuple[int, ...]) -> int:
        parts = itertools.pairwise((0, *bounds, len(words)))
        return sum(
            edits("WER", " ".join(words[begin:end]), " ".join(sentence))[0]
            for (begin, end), sentence in zip(parts, sentences, strict=True)
        )

    owners = sentence_of_words(words, sentences, Rule.MWER)
    found = errors(tuple(sum(of <= n for of in owners) for n in range(len(sentences) - 1)))
    cuts = itertools.combinations_with_replacement(range(len(words) + 1), len(sentences) - 1)
    assert found == min(map(errors, cuts))


def test_a_word_goes_where_its_first_token_goes() -> None:
    sentences = [["ja", ",", "gut"], ["nein"]]
    tokens = {"gut-nein": ["gut", "-", "nein"]}
    owners = sentence_of_words(
        ["ja", "gut-nein"], sentences, tokenize=lambda word: tokens.get(word, [word])
    )
    assert owners == [0, 0]


TALK = [
    Sentence("a/talk.wav", 1000.0, 2000.0, "one two"),
    Sentence("a/talk.wav", 4000.0, 1000.0, "three"),
    Sentence("a/talk.wav", 6000.0, 2000.0, "four five"),
]


def talk() -> Instance:
    return Instance(0, "one two three four five", "", (1500, 3500, 5500, 8000, 8000), (), 8500,
        "b/talk.flac")  # fmt: skip


def test_by_hand() -> None:
    values = score_long([talk()], TALK).values
    # 500, 2500 - 1000; 1500, after its end; 2000, which is the end of the last sentence
    assert values["LongLAAL"] == values["StreamLAAL"] == pytest.approx((1000 + 1500 + 2000) / 3)
    assert values["LongYAAL"] == pytest.approx((1000 + 1500) / 2)
    assert values["chrF"] == 100
    assert values["LongYAAL_CA"] is None


def test_sentences_are_read_as_they_were_written(tmp_path: Path) -> None:
    segments, references = tmp_path / "segments.yaml", tmp_path / "references.txt"
    write_sentences(TALK, segments, references)
    assert read_sentences(segments, references) == TALK
    listed = [{"wav": "x", "offset": 1, "duration": 2, "speaker_id": "s"}]
    (tmp_path / "segments.json").write_text(json.dumps(listed))
    references.write_text(" hello \n")
    found = read_sentences(tmp_path / "segments.json", references)
    assert found == [Sentence("x", 1000, 2000, "hello")]
    for text, told in (
        ("- {wav: x, offset: 1}", "expected wav, and offset"),
        ("- {wav: x, offset: 1, duration: -1}", "from 0 up"),
        ("- {wav: x, offset: 1, duration: 1}\n" * 2, "1 lines for 2 segments"),
        ("wav: x", "holds no list"),
        ("- {", "cannot be read"),
    ):
        segments.write_text(text)
        with pytest.raises(DataError, match=told):
            read_sentences(segments, references)
    (tmp_path / "segments.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read"):
        read_sentences(tmp_path / "segments.json", references)


def test_recordings_and_sentences_must_be_the_same() -> None:
    other = Sentence("other.wav", 0.0, 1000.0, "six")
    with pytest.raises(DataError, match="in both or there twice: other"):
        score_long([talk()], [*TALK, other])
    with pytest.raises(DataError, match="there twice: talk"):
        score_long([talk(), talk()], TALK)


def test_score_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = record(prediction="one two three four five", delays=[1500, 3500, 5500, 8000, 8000],
        elapsed=[1600, 3700, 5800, 8400, 8400], prediction_length=5, source=["talk.wav"],
        source_length=90_000)  # fmt: skip
    write_log(tmp_path / "instances.log", [log])
    write_sentences(TALK, tmp_path / "segments.yaml", tmp_path / "references.txt")
    folder = [str(tmp_path), "--segments", str(tmp_path / "segments.yaml")]
    assert main(folder) == 1
    assert "--references" in capsys.readouterr().err
    folder += ["--references", str(tmp_path / "references.txt")]
    assert main(folder) == 0
    told = capsys.readouterr().out
    assert "3 instances, 3 with latency, of 1 recordings" in told and "long-recording" not in told
    saved = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert saved["LongYAAL"] == pytest.approx(1250) and not (tmp_path / "scores.tsv").exists()
    assert saved["LongYAAL_CA"] == pytest.approx((1150 + 1800) / 2)
    assert main([*folder, "--intervals"]) == 1
