"""The kernel that models share: where it comes from, and what happens where it cannot come."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from echostream.config import load_config
from echostream.errors import ConfigError
from echostream.kernel import Kernel, kernel_version, library, pack_weights, shared_kernel
from echostream.model import SpeechModel

from .needs import needs_compiler


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Kernel, "_library", None)
    shared_kernel.cache_clear()
    yield
    shared_kernel.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "echostream"


def as_in_a_new_process() -> Kernel | None:
    Kernel._library = None
    shared_kernel.cache_clear()
    return shared_kernel()


def refuse(path: Path) -> None:
    raise ConfigError("compiled again")


def check(kernel: Kernel | None) -> None:
    """That it computes a layer."""
    assert kernel is not None
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 5, 20), torch.randn(33, 20), torch.randn(33)
    expected = functional.linear(x, weight, bias)
    torch.testing.assert_close(kernel.linear(x, pack_weights(weight, bias), 33), expected)
    across = x.transpose(0, 1)
    assert not across.is_contiguous()
    y = kernel.linear(across, pack_weights(weight, None), 33)
    torch.testing.assert_close(y, expected.transpose(0, 1) - bias)
    assert kernel.linear(x[:, :0], pack_weights(weight, bias), 33).shape == (2, 0, 33)


@needs_compiler
def test_it_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(shared_kernel())
    (path,) = cache.iterdir()
    monkeypatch.setattr(library, "compile_kernel", refuse)
    check(as_in_a_new_process())
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    check(as_in_a_new_process())  # Without a compiler too.
    path.rename(cache / "kernel-of-an-older-version.so")
    assert as_in_a_new_process() is None


@needs_compiler
def test_a_model_does_not_leave_it_to_the_first_chunk(cache: Path) -> None:
    SpeechModel(load_config("configs/tiny.yaml"))
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_a_damaged_one_is_compiled_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cache / f"kernel-{kernel_version()}.so"
    cache.mkdir(parents=True)
    path.write_bytes(b"\x7fELF and no more")
    check(shared_kernel())
    assert "compiled again" in caplog.text
    assert list(cache.iterdir()) == [path] and path.stat().st_size > 1000


@needs_compiler
def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check(shared_kernel())
    assert "cannot keep the compiled kernel" in caplog.text
    assert (tmp_path / "file").read_text() == "mine"


@needs_compiler
def test_a_compiler_that_fails(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho out of letters >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert shared_kernel() is None
    assert "more slowly" in caplog.text and "out of letters" in caplog.text
    assert list(cache.iterdir()) == []


def test_without_a_compiler(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    caplog.set_level(logging.DEBUG)
    assert shared_kernel() is None
    assert not cache.exists() and caplog.text == ""


def test_a_user_without_a_home(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert shared_kernel() is None
    assert "set XDG_CACHE_HOME" in caplog.text


@needs_compiler
def test_all_of_a_graph_has_the_threads_of_the_thread_that_runs_it(cache: Path) -> None:
    """Also what is left to torch in it, which would take all that the machine has."""
    kernel = shared_kernel()
    assert kernel is not None
    most = kernel.library.omp_get_max_threads  # Of OpenMP, which torch and the kernel share.

    def run(threads: int) -> int:
        kernel.set_threads(threads)
        return int(most())

    before = most()
    for threads in (1, 3):
        with ThreadPoolExecutor(1) as worker:
            assert worker.submit(run, threads).result() == threads
    assert most() == before
