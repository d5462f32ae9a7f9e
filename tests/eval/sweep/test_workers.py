"""Several processes: the same results, errors that come through, and an end when asked."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from echostream.errors import AudioFormatError, DataError
from echostream.session import SystemOptions
from echostream.shipped import SHIPPED_CHECKPOINT
from eval.sweep import System, Work, encode, run_policy
from eval.sweep.workers import run
from tests.eval.sweep.conftest import Corpus


@dataclass(frozen=True)
class Job:
    """Does what an item says; notes it in a folder."""

    folder: Path

    def start(self) -> Callable[[str], tuple[str, int, int]]:
        def work(item: str) -> tuple[str, int, int]:
            (self.folder / f"{item} begun").touch()
            if item == "refuse":
                raise AudioFormatError("refused")
            if item == "die":
                os._exit(3)
            while item == "wait":
                time.sleep(0.01)
            return item, os.getpid(), torch.get_num_threads()

        return work


@pytest.mark.parametrize("jobs", [1, 2])
def test_items_are_done_on_one_thread_each(jobs: int, tmp_path: Path) -> None:
    results = list(run(Job(tmp_path), ["a", "b", "c"], jobs))
    assert sorted(item for item, _, _ in results) == ["a", "b", "c"]
    assert {threads for _, _, threads in results} == {1}
    assert (os.getpid() in {process for _, process, _ in results}) == (jobs == 1)


def test_an_error_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="refused"):
        list(run(Job(tmp_path), ["wait", "refuse", "never"], 2))
    assert not (tmp_path / "never begun").exists()


def test_an_interruption_ends_the_others(tmp_path: Path) -> None:
    results = run(Job(tmp_path), ["a", "wait", "wait", "never"], 2)
    assert next(results)[0] == "a"
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert not (tmp_path / "never begun").exists()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("items", [["die", "wait"], ["wait", "die"]])
def test_a_worker_that_dies_is_an_error(items: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 worker processes died"):
        list(run(Job(tmp_path), items, 2))
    assert multiprocessing.active_children() == []


def test_two_processes_write_what_one_writes(corpus: Corpus, tmp_path: Path) -> None:
    # The shipped checkpoint has language models.
    system = System(SystemOptions(checkpoint=str(SHIPPED_CHECKPOINT), decoder="prefix-beam"))
    sources = corpus.sources()
    one, two = (
        encode(system, sources, segment_ms=320, work=Work(tmp_path / str(jobs), jobs))
        for jobs in (1, 2)
    )
    for source in sources:
        first, second = one.load(source), two.load(source)
        assert [s.chunks for s in first.segments] == [s.chunks for s in second.segments]
        assert first.frames.equal(second.frames)
        assert all(second.log_probs[head].equal(x) for head, x in first.log_probs.items())
    logs = [
        (run_policy(each, output=tmp_path / f"run {jobs}") / "instances.log").read_text()
        for jobs, each in ((1, one), (2, two))
    ]
    predictions = [[line.partition('"elapsed"')[0] for line in log.splitlines()] for log in logs]
    assert predictions[0] == predictions[1]
