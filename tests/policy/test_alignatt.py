"""AlignAtt, and schedules over words that are made on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import pytest

from echostream.decoder import Candidates, Word
from echostream.errors import ConfigError
from echostream.policy import AlignAtt, CtcGuided, LocalAgreement, Offline, PolicyContext, WaitK

from .policy_contexts import context, decide


class OnDemand(Sequence[Word]):
    """Words of two tokens that look at ``frames``, and how many of them were made."""

    def __init__(self, frames: Sequence[int]) -> None:
        self.words = [Word(f"w{i}", 2 * i + 2, frame) for i, frame in enumerate(frames)]
        self.made = 0

    def __len__(self) -> int:
        self.made = len(self.words)
        return self.made

    @overload
    def __getitem__(self, index: int) -> Word: ...

    @overload
    def __getitem__(self, index: slice) -> list[Word]: ...

    def __getitem__(self, index: Any) -> Any:
        self.made = max(self.made, min(index + 1, len(self.words)))
        return self.words[index]


def looking(frames: Sequence[int], **settings: Any) -> tuple[PolicyContext, OnDemand]:
    """A context after 10 chunks, 160 frames."""
    words = OnDemand(frames)
    made = context(chunks=10, **settings)
    return dataclasses.replace(made, candidates=Candidates(tentative=words, on_demand=True)), words


@pytest.mark.parametrize(
    ("f", "frames", "written", "made"),
    [
        (8, [10, 40, 90, 151, 152, 20], 4, 5),
        (0, [10, 159, 160], 2, 3),
        (8, [160, 10], 0, 1),
        (8, [10, 20, 30], 3, 3),
        (160, [0, 1], 0, 1),
        (8, [], 0, 0),
    ],
)
def test_words_up_to_the_first_near_the_end_and_no_word_further(
    f: int, frames: list[int], written: int, made: int
) -> None:
    asked, words = looking(frames)
    assert AlignAtt(frames=f).decide(asked).write == written
    assert words.made == made


def test_everything_is_written_at_the_end() -> None:
    asked, _ = looking([10, 159, 160], finished=True)
    assert AlignAtt(frames=20).decide(asked).write == 3


def test_a_negative_distance_is_refused() -> None:
    with pytest.raises(ConfigError, match="'frames' of policy 'alignatt' is -1"):
        AlignAtt(frames=-1)


def test_schedules_make_no_more_words_than_they_allow() -> None:
    asked, words = looking([0] * 20, written=3)
    # 10 chunks, k=3: 8 words in all.
    assert WaitK(k=3).decide(asked).write == 5
    assert words.made == 5
    asked, words = looking([0] * 20, source=9, target=7)
    # 7 units of 2 a word; it takes one more word to see that no other fits.
    assert CtcGuided().decide(asked).write == 3
    assert words.made == 4
    asked, words = looking([0] * 20)
    assert Offline().decide(asked).write == 0
    assert words.made == 0


def test_local_agreement_compares_drafts() -> None:
    asked, _ = looking([0] * 5)
    first = decide(LocalAgreement(n=2), asked)
    assert first.write == 0
    shorter, _ = looking([0] * 3, state=first.state)
    assert decide(LocalAgreement(n=2), shorter).write == 3
