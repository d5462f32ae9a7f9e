"""Exported graphs on disk: found by what they were made from, and never half of one."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.backend.graph import ChunkGraph
from echostream.encoder.zipformer import ZipformerEncoder
from tests.encoder.small_encoder import INPUT_DIM, fresh_encoder, largest_difference, noise

CHUNKING: dict[str, Any] = {"chunk_size": 8, "left_context": 8, "max_future_frames": None}


class Pickled:
    """A stand-in for a package: its file is the graph itself."""

    name = "pickled"
    file_name = "graph.pt"

    def __init__(self, version: str = "1") -> None:
        self._version = version
        self.exports: list[tuple[str, Path]] = []
        self.fails = False

    def version(self) -> str | None:
        return self._version

    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        self.exports.append((precision, folder))
        torch.save(graph.encoder.state_dict(), folder / self.file_name)
        if self.fails:
            raise OSError("no space left")
        self.graph = graph

    def load(self, folder: Path, precision: str, threads: int) -> Any:
        weights = torch.load(folder / self.file_name)
        graph = self.graph
        graph.encoder.load_state_dict(weights)

        class Engine:
            def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
                with torch.no_grad():
                    return graph(*inputs)  # type: ignore[no-any-return]

        return Engine()


def made(kind: Pickled, cache: Path | None, seed: int = 0, **options: Any) -> CompiledEncoder:
    return CompiledEncoder(fresh_encoder(seed), kind, cache=cache, **options)


def one_chunk(encoder: CompiledEncoder | ZipformerEncoder, **chunking: Any) -> Tensor:
    features = noise(1, 32, INPUT_DIM, dtype=torch.float32)
    return encoder.step(features, encoder.init_state(**(CHUNKING | chunking)))[0]


def test_found_again(tmp_path: Path) -> None:
    kind, cache = Pickled(), tmp_path / "new" / "compiled"
    first = made(kind, cache)
    expected = one_chunk(first)
    (folder,) = cache.iterdir()
    described = json.loads((folder / "graph.json").read_text())
    assert described["fingerprint"] == first.fingerprint()
    assert described["chunk_size"] == 8 and described["batch_size"] == 1
    assert len(kind.exports) == 1
    assert torch.equal(one_chunk(made(kind, cache)), expected)
    one_chunk(first)
    assert len(kind.exports) == 1


def test_what_makes_another_graph(tmp_path: Path) -> None:
    """Everything a graph depends on; threads are not part of it."""
    kind = Pickled()
    one_chunk(made(kind, tmp_path))
    one_chunk(made(kind, tmp_path, threads=2))
    assert len(kind.exports) == 1
    one_chunk(made(kind, tmp_path, seed=1))
    one_chunk(made(kind, tmp_path, precision="int8"))
    for chunking in ({"left_context": 16}, {"max_future_frames": 0}, {"chunk_size": 16}):
        one_chunk(made(kind, tmp_path), **chunking)
    assert len(kind.exports) == 6
    newer = Pickled("2")
    one_chunk(made(newer, tmp_path))
    assert len(newer.exports) == 1
    assert len(list(tmp_path.iterdir())) == 7


@pytest.mark.fault("F27")
def test_half_a_graph_is_made_again(tmp_path: Path) -> None:
    """A folder without its description, and one with that of another graph."""
    kind = Pickled()
    expected = one_chunk(made(kind, tmp_path))
    (folder,) = tmp_path.iterdir()
    for damage in (lambda p: p.unlink(), lambda p: p.write_text("{}")):
        damage(folder / "graph.json")
        (folder / kind.file_name).write_bytes(b"")
        assert torch.equal(one_chunk(made(kind, tmp_path)), expected)
    assert len(kind.exports) == 3
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.fault("F27")
@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "missing", "more", "no sums"])
def test_a_damaged_graph_is_made_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The description is that of the wanted graph, so only the sums can tell."""
    kind = Pickled()
    expected = one_chunk(made(kind, tmp_path))
    assert not caplog.text, "nothing is damaged where nothing was"
    (folder,) = tmp_path.iterdir()
    path = folder / kind.file_name
    data = path.read_bytes()
    if damage in ("missing", "no sums"):
        (path if damage == "missing" else folder / "sums.json").unlink()
    elif damage == "more":
        (folder / "weights.bin").write_bytes(b"?")
    else:
        middle = len(data) // 2
        altered = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"cut": data[:-1], "altered": altered, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(one_chunk(made(kind, tmp_path)), expected)
    assert "is not whole" in caplog.text
    assert len(kind.exports) == 2
    caplog.clear()
    one_chunk(made(kind, tmp_path))
    assert len(kind.exports) == 2 and not caplog.text


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    kind = Pickled()
    kind.fails = True
    with pytest.raises(OSError, match="no space"):
        one_chunk(made(kind, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("F27")
@pytest.mark.parametrize("blocked", [False, True])
def test_without_a_usable_cache(
    blocked: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the folder should be; or no cache is wanted."""
    kind, cache = Pickled(), tmp_path / "file"
    cache.write_text("")
    with caplog.at_level(logging.WARNING):
        y = one_chunk(made(kind, cache if blocked else None))
    assert ("cannot keep the compiled encoder" in caplog.text) == blocked
    assert largest_difference(y, one_chunk(fresh_encoder())) < 1e-5
    assert not kind.exports[0][1].exists()
