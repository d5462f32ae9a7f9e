"""Several processes: the same results, errors that come through, and an end when asked."""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from echostream.errors import AudioFormatError, DataError
from echostream.scale import run_all


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
    results = list(run_all(Job(tmp_path), ["a", "b", "c"], jobs=jobs))
    assert sorted(item for item, _, _ in results) == ["a", "b", "c"]
    assert {threads for _, _, threads in results} == {1}
    assert (os.getpid() in {process for _, process, _ in results}) == (jobs == 1)


def test_an_error_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="refused"):
        list(run_all(Job(tmp_path), ["wait", "refuse", "never"], jobs=2))
    assert not (tmp_path / "never begun").exists()


def test_an_interruption_ends_the_others(tmp_path: Path) -> None:
    results = run_all(Job(tmp_path), ["a", "wait", "wait", "never"], jobs=2)
    assert next(results)[0] == "a"
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert not (tmp_path / "never begun").exists()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("items", [["die", "wait"], ["wait", "die"]])
def test_a_worker_that_dies_is_an_error(items: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 worker processes died"):
        list(run_all(Job(tmp_path), items, jobs=2))
    assert multiprocessing.active_children() == []
