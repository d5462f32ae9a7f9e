"""The graph compiled by torch's own compiler.

A graph takes up to a minute to compile, so one serves most of these tests, which are marked slow.
"""

import multiprocessing
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.backend import CompiledEncoder, installed_backends, make_backend
from echostream.backend.inductor import Inductor
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError
from echostream.kernel import build, kernel_version
from tests.encoder.small_encoder import INPUT_DIM, equal, noise, small_encoder
from tests.kernel.needs import needs_compiler, needs_int8

from .compiled import CHUNKINGS, error_of_int8, wide_encoder

BATCHES = {4: 1, 0: 2}
"""Streams of the graph of each memory size."""
FLOAT = torch.float32


def temporary_files_in(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go from now on."""
    temporary = folder / "temporary"
    temporary.mkdir()
    patch.setattr(tempfile, "tempdir", str(temporary))
    patch.setenv("TMPDIR", str(temporary))
    return temporary


def left_in(temporary: Path) -> list[Path]:
    """What lies there, but for the empty folder that torch makes where its compiler is imported."""
    return [path for path in temporary.rglob("*") if not path.name.startswith("torchinductor_")]


class Compiled(NamedTuple):
    """The graph of most tests, made once."""

    cache: Path
    temporary: Path
    """Where temporary files went meanwhile."""


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        temporary = temporary_files_in(folder, patch)
        encoder = inductor(folder / "graphs")
        encoder.prepare(state_of(encoder))
    return Compiled(folder / "graphs", temporary)


@pytest.fixture(scope="module")
def cache(compiled_once: Compiled) -> Path:
    return compiled_once.cache


def inductor(cache: Path, memory_size: int = 4, **options: Any) -> CompiledEncoder:
    encoder = make_backend(small_encoder(memory_size, FLOAT), "inductor", cache=cache, **options)
    assert isinstance(encoder, CompiledEncoder)
    return encoder


def state_of(encoder: CompiledEncoder | ZipformerEncoder, memory_size: int = 4) -> StreamState:
    return encoder.init_state(BATCHES[memory_size], **CHUNKINGS[memory_size])


@needs_compiler
@pytest.mark.slow
def test_streaming_equals_forward(cache: Path) -> None:
    encoder = small_encoder(4, FLOAT)
    compiled = inductor(cache)
    features = noise(1, 2 * 16 * 21 + 9, INPUT_DIM, dtype=FLOAT)
    with torch.no_grad():
        expected = encoder(features, **CHUNKINGS[4])["encoder_out"]
    state, outputs = state_of(compiled), []
    for start in range(0, features.shape[1], 50):
        piece = features[:, start : start + 50]
        end = start + 50 >= features.shape[1]
        y, _, state = compiled.step(piece, state, is_final=end)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=2e-5, rtol=1e-5)
    assert float(expected.std()) > 0.1


@needs_compiler
@pytest.mark.slow
def test_denormal_numbers_stay_numbers(cache: Path) -> None:
    """A library built with fast arithmetic would flush them to zero in all that the thread does."""
    compiled = inductor(cache)
    compiled.step(noise(1, 32, INPUT_DIM, dtype=FLOAT), state_of(compiled))
    assert np.float32(1e-38) * np.float32(1e-3) > 0


@needs_compiler
@pytest.mark.slow
def test_a_stream_goes_on_in_torch_and_back(cache: Path) -> None:
    encoder, compiled = small_encoder(4, FLOAT), inductor(cache)
    features = noise(1, 32 * 6, INPUT_DIM, dtype=FLOAT)
    alone, moved, frames = state_of(encoder), state_of(compiled), []
    for number, piece in enumerate(features.split(32, 1)):
        expected, _, alone = encoder.step(piece, alone)
        y, _, moved = (compiled, encoder)[number % 2].step(piece, moved)
        frames.append((y, expected))
        saved = moved.to_bytes(encoder.fingerprint())
        moved = StreamState.from_bytes(saved, encoder)
    for y, expected in frames:
        torch.testing.assert_close(y, expected, atol=2e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.slow
def test_a_forked_process_goes_on(cache: Path) -> None:
    """The thread that the graph runs in is not there any more."""
    compiled = inductor(cache)
    features = noise(1, 64, INPUT_DIM, dtype=FLOAT)
    expected, _, _ = compiled.step(features, state_of(compiled))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads.
        process = multiprocessing.get_context("fork").Process(
            target=_check_step, args=(compiled, features, expected)
        )
        process.start()
    process.join(60)
    code = process.exitcode
    process.kill()
    assert code == 0


def _check_step(compiled: CompiledEncoder, features: Tensor, expected: Tensor) -> None:
    torch.set_num_threads(1)
    y, _, _ = compiled.step(features, state_of(compiled))
    os._exit(0 if torch.equal(y, expected) else 3)


@needs_compiler
@pytest.mark.slow
def test_a_stream_gives_the_same_bits_in_a_batch(cache: Path) -> None:
    """Which int8 lives on: a last bit that differed would be rounded to another byte."""
    compiled = inductor(cache)
    features = noise(3, 32 * 5, INPUT_DIM, dtype=FLOAT)
    together = compiled.init_state(3, **CHUNKINGS[4])
    alone = [state_of(compiled) for _ in range(3)]
    for piece in features.split(32, dim=1):
        y, _, together = compiled.step(piece, together)
        for row in range(3):
            own, _, alone[row] = compiled.step(piece[row : row + 1], alone[row])
            assert torch.equal(own[0], y[row])
    assert equal(together, StreamState.stack(alone))


@needs_compiler
@pytest.mark.slow
def test_streams_of_a_batch_do_not_meet(cache: Path) -> None:
    """One of them idle, one with numbers that are not finite."""
    encoder, compiled = small_encoder(0, FLOAT), inductor(cache, 0)
    features = noise(2, 16, INPUT_DIM, dtype=FLOAT)
    state = state_of(compiled, 0)
    _, _, state = compiled.step(features, state)
    before = state.clone()
    active = torch.tensor([True, False])
    y, counts, after = compiled.step(features, state, active=active)
    assert counts.tolist() == [8, 0]
    assert equal(after, before, rows=slice(1, 2))
    poisoned = features.clone()
    poisoned[1] = float("nan")
    beside, _, _ = compiled.step(poisoned, state)
    assert torch.equal(beside[0], y[0])
    solo = encoder.init_state(1, **CHUNKINGS[0])
    for _ in range(2):
        expected, _, solo = encoder.step(features[:1], solo)
    torch.testing.assert_close(y[:1], expected, atol=2e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.slow
def test_a_later_start_needs_no_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And auto takes what was compiled before, on the processor that it was compiled for."""
    first = inductor(cache)
    first.prepare(state_of(first))
    assert make_backend(small_encoder(4, FLOAT), "auto", cache=cache).name == "inductor"  # type: ignore[union-attr]

    def refuse(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(Inductor, "export", refuse)
    again = inductor(cache, threads=2)
    features = noise(1, 96, INPUT_DIM, dtype=FLOAT)
    y, _, _ = again.step(features, state_of(again))
    assert torch.equal(y, first.step(features, state_of(first))[0])

    others = small_encoder(4, FLOAT), small_encoder(0, FLOAT)
    monkeypatch.setattr(build, "_processor", lambda: b"another processor")
    for encoder, folder in ((others[0], cache), (others[1], cache / "none"), (others[1], None)):
        chosen = make_backend(encoder, "auto", cache=folder)
        assert getattr(chosen, "name", "torch") != "inductor"
    with pytest.raises(AssertionError, match="compiled again"):
        inductor(cache).prepare(state_of(first))


@needs_compiler
@pytest.mark.slow
def test_compiling_leaves_nothing_behind(compiled_once: Compiled) -> None:
    assert left_in(compiled_once.temporary) == []
    assert list(compiled_once.cache.glob("inductor-*/graph.so"))


@needs_compiler
@pytest.mark.parametrize("what", ["kernel", pytest.param("graph", marks=pytest.mark.slow)])
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    temporary = temporary_files_in(tmp_path, monkeypatch)
    if what == "kernel":
        broken = tmp_path / "c++"
        broken.write_text("#!/bin/sh\necho out of letters >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setenv("CXX", str(broken))
    else:

        def fail(*_: Any) -> None:
            (Path(torch._inductor.runtime.cache_dir_utils.cache_dir()) / "half").touch()
            raise RuntimeError("out of letters")

        monkeypatch.setattr("torch._inductor.aot_compile", fail)
    failing = inductor(tmp_path / "cache")
    with pytest.raises(ConfigError, match="out of letters.*backend"):
        failing.prepare(state_of(failing))
    assert left_in(temporary) == [] and list((tmp_path / "cache").iterdir()) == []


@needs_compiler
def test_int8_is_refused_where_bytes_cannot_be_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_processor", lambda: b"flags : sse2 avx2")
    with pytest.raises(ConfigError, match="int8.*inductor.*float32 only here.*openvino"):
        inductor(tmp_path, precision="int8")


@needs_int8
@pytest.mark.slow
def test_int8_is_near_and_not_the_same(cache: Path) -> None:
    """And in a batch to the bit what it is alone."""
    assert 1e-4 < error_of_int8("inductor", cache) < 0.1
    compiled = make_backend(wide_encoder(), "inductor", precision="int8", cache=cache)
    features = noise(3, 70, 40, dtype=FLOAT)
    together, _, _ = compiled.step(features, compiled.init_state(3), is_final=True)
    for row in range(3):
        alone, _, _ = compiled.step(features[row : row + 1], compiled.init_state(), is_final=True)
        assert torch.equal(alone[0], together[row])


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "inductor" not in installed_backends(at_once=False)
    with pytest.raises(ConfigError, match=r"inductor is not installed; .*compiler.*g\+\+"):
        make_backend(small_encoder(4, FLOAT), "inductor")


def test_graphs_know_what_they_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's sources and the processor's instructions."""
    versions = {kernel_version()}
    monkeypatch.setattr(build, "_processor", lambda: b"another processor")
    versions.add(kernel_version())
    monkeypatch.setattr(build, "_FOLDER", tmp_path)
    for name in ("kernel.cpp", "vector.h"):
        (tmp_path / name).write_text("// another")
        versions.add(kernel_version())
    assert len(versions) == 4
