"""A Ray cluster of several nodes: the results of one process, whatever is lost on the way.

All but the first tests start Ray and take minutes.
"""

import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from echostream.commands import corpus as corpus_command
from echostream.errors import AudioFormatError, DataError
from echostream.scale import cluster as ray_cluster
from echostream.scale import run_all
from eval import results
from tests.training.conftest import make_corpus

MEMORY = 80 * 2**20
"""Of a node's object store; Ray wants no less."""


@dataclass(frozen=True)
class Job:
    """Does what an item says; notes what it begins."""

    folder: Path

    def start(self) -> Callable[[str], tuple[str, int]]:
        import ray

        node = ray.get_runtime_context().get_node_id()

        def work(item: str) -> tuple[str, int]:
            path = self.folder / item
            is_first = not path.exists()
            with path.open("a") as file:
                file.write(f"{node}\n")
            if item == "refuse":
                raise AudioFormatError("refused")
            if item.startswith("die") or (item.startswith("stumble") and is_first):
                os._exit(3)
            while item.startswith("wait") or (item.startswith("hold") and is_first):
                time.sleep(0.01)
            time.sleep(0.1)
            return item, torch.get_num_threads()

        return work


def begun(folder: Path) -> Counter[str]:
    return Counter({path.name: len(path.read_text().splitlines()) for path in folder.iterdir()})


def test_without_ray_there_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"ray is missing.*echostream\[scale\].*without --ray"):
        list(run_all(Job(tmp_path), ["a"], ray="auto"))
    assert list(run_all(Job(tmp_path), [], ray="auto")) == []


def test_a_cluster_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(DataError, match=r"'127.0.0.1:9'.*refused.*HOST:PORT"):
        list(run_all(Job(tmp_path), ["a"], ray="127.0.0.1:9"))


def test_a_cluster_that_was_killed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert ray_cluster.found("auto") is None
    noted = tmp_path / "ray" / "ray_current_cluster"
    noted.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as head:
        noted.write_text(f"127.0.0.1:{head.getsockname()[1]}")
        assert ray_cluster.found("auto") is None
    assert ray_cluster.found("auto") == "local"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert ray_cluster.found("auto") == "127.0.0.1:9"
    assert ray_cluster.found("10.0.0.1:1") == "10.0.0.1:1"


def test_a_folder_that_a_machine_lacks_is_named() -> None:
    with pytest.raises(DataError, match=r"cannot enter /nowhere.*under the same names"):
        ray_cluster._started(b"", "/nowhere")


def cluster_of(nodes: int) -> Any:
    """A head that does no work, and nodes of one processor."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes()
    return cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes; the test's process is connected."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    cluster = cluster_of(2)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_killed_node_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes()

    held = tmp_path / "hold"

    def kill() -> None:
        """The node that is in the middle of an item."""
        while not (held.exists() and held.read_text()):
            time.sleep(0.1)
        (node,) = (node for node in cluster.worker_nodes if node.node_id in held.read_text())
        cluster.remove_node(node, allow_graceful=False)

    items = ["a", "b", "hold", *"cdefgh"]
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = [item for item, _ in run_all(Job(tmp_path), items, ray=cluster.address)]
    thread.join(60)
    assert len(cluster.worker_nodes) == 2
    assert sorted(found) == sorted(items)
    assert begun(tmp_path) == Counter([*items, "hold"])
    assert len(set(held.read_text().split())) == 2, "on another node"


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_but_not_for_ever(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(run_all(Job(tmp_path), ["a", "stumble", "b"], ray=cluster.address))
    assert sorted(found) == [("a", 1), ("b", 1), ("stumble", 1)]
    monkeypatch.setattr(ray_cluster, "RETRIES", 1)
    with pytest.raises(DataError, match="lost 2 times"):
        list(run_all(Job(tmp_path), ["die"], ray=cluster.address))
    assert begun(tmp_path)["die"] == 2


class Loaded:
    """A job that notes each time that it is loaded, and may refuse."""

    def __init__(self, notes: Path, refuses: bool = False) -> None:
        self.notes, self.refuses = notes, refuses

    def __reduce__(self) -> tuple[Any, ...]:
        return loaded, (self.notes, self.refuses)

    def start(self) -> Callable[[int], int]:
        return abs


def loaded(notes: Path, refuses: bool) -> Loaded:
    if refuses:
        raise DataError("other weights")
    with notes.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return Loaded(notes)


@pytest.mark.slow
def test_a_job_is_loaded_once_in_a_process(cluster: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    found = sorted(run_all(Loaded(notes), range(-12, 0), ray=cluster.address))
    assert found == list(range(1, 13))
    processes = notes.read_text().split()
    assert len(processes) == len(set(processes)) < 12
    with pytest.raises(DataError, match="^other weights$"):
        list(run_all(Loaded(notes, refuses=True), [1], ray=cluster.address))


@pytest.mark.slow
def test_an_error_ends_the_others(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="^refused$"):
        list(run_all(Job(tmp_path), ["wait", "refuse", "wait more", "never"], ray=cluster.address))
    # The processors are free again.
    assert list(run_all(Job(tmp_path), ["a"], ray=cluster.address)) == [("a", 1)]
    assert "never" not in begun(tmp_path)


@pytest.mark.slow
def test_the_commands_write_what_one_process_writes(
    cluster: Any, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    make_corpus(Path("corpus"))
    on_ray = ["--ray", cluster.address]
    for output, more in (("one", []), ("many", on_ray), ("many", on_ray)):
        where = ["--output", f"features/{output}", "--config", "corpus/zipformer.yaml"]
        assert corpus_command.main(["features", "corpus", *where, *more]) == 0
        command = [str(checkpoint), "--data", "corpus", "--split", "dev", "--chunks", "320"]
        command += ["--output", f"results/{output}", "--jobs", "1", *more]
        assert results.main(command) == 0
    files = {path.relative_to("features/one") for path in Path("features/one").rglob("*.*")}
    assert len(files) == 2
    for path in files:
        assert (Path("features/one") / path).read_bytes() == Path(
            "features/many", path
        ).read_bytes()
    logs = sorted(Path("results/one").rglob("instances.log"))
    assert len(logs) == 2
    for log in logs:
        pairs = zip(
            log.read_text().splitlines(),
            Path("results/many", log.relative_to("results/one")).read_text().splitlines(),
            strict=True,
        )
        for one, many in pairs:
            assert one.partition('"elapsed"')[0] == many.partition('"elapsed"')[0]
