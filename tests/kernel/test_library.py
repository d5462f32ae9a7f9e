"""The kernel that models share: where it comes from, and what happens where it cannot come."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from echostream.config import load_config
from echostream.errors import ConfigError
from echostream.kernel import (
    Kernel,
    build,
    compile_kernel,
    compiler_command,
    compiler_version,
    kernel_version,
    library,
    pack_weights,
    shared_kernel,
)
from echostream.model import SpeechModel
from tests import shared

from .needs import needs_compiler


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Kernel, "_library", None)
    shared_kernel.cache_clear()
    yield
    shared_kernel.cache_clear()


@pytest.fixture
def made() -> Path:
    """Compiling takes seconds, so tests of what comes after it have a library that is there."""
    return (
        shared.made_once("kernel", lambda folder: compile_kernel(folder / "kernel.so"))
        / "kernel.so"
    )


@pytest.fixture
def copied(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "compile_kernel", lambda path: shutil.copyfile(made, path))


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
    y = kernel.packed_linear(x, pack_weights(weight, bias), 0, 33, 0)
    torch.testing.assert_close(y, functional.linear(x, weight, bias))


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@needs_compiler
@pytest.mark.usefixtures("copied")
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
def test_threads_that_want_it_at_once_compile_it_once(
    made: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def compile_slowly(path: Path) -> None:
        calls.append(path)
        time.sleep(0.3)
        shutil.copyfile(made, path)

    monkeypatch.setattr(library, "compile_kernel", compile_slowly)
    with ThreadPoolExecutor(2) as threads:
        for kernel in threads.map(lambda _: shared_kernel(), range(2)):
            check(kernel)
    assert len(calls) == 1


@needs_compiler
@pytest.mark.usefixtures("copied")
def test_a_model_does_not_leave_it_to_the_first_chunk(cache: Path) -> None:
    SpeechModel(load_config("configs/tiny.yaml"))
    assert len(list(cache.iterdir())) == 1


@needs_compiler
@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "another file"])
def test_a_damaged_one_is_compiled_again(
    damage: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading the first two ends the process, or computes something else."""
    check(shared_kernel())
    (path,) = cache.iterdir()
    data = path.read_bytes()
    middle = len(data) // 2
    path.unlink()  # The one that is loaded stays as it is.
    path.write_bytes(
        {
            "cut": data[:middle],
            "altered": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "empty": b"",
            "another file": b"\x7fELF and no more",
        }[damage]
    )
    check(as_in_a_new_process())
    assert "cut or altered" in caplog.text and "compiled again" in caplog.text
    assert list(cache.iterdir()) == [path] and path.stat().st_size == len(data)
    caplog.clear()
    check(as_in_a_new_process())
    assert caplog.text == ""


@needs_compiler
def test_the_words_of_cxx_and_cxxflags(
    made: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler behind another program, as ccache is, in a folder with a space in its name."""
    folder = tmp_path / "with space"
    folder.mkdir()
    calls = tmp_path / "calls"
    # As ccache does, it has the library already.
    copying = f'while [ "$1" != -o ]; do shift; done; cp {made} "$2"'
    wrapper = script(
        folder / "cache",
        f'echo "$@" >> {calls}\ncase "$*" in *-shared*) {copying};; *) exec "$@";; esac',
    )
    plain, compiler = kernel_version(), compiler_version()
    monkeypatch.setenv("CXX", f"'{wrapper}' g++")
    assert compiler_command() == [str(wrapper), "g++"]
    assert compiler_version() == compiler, "the same compiler"
    check(shared_kernel())
    assert "-shared" in calls.read_text()
    monkeypatch.setenv("CXXFLAGS", "-DSOME='a b'")
    assert compiler_command() == [str(wrapper), "g++", "-DSOME=a b"]
    assert kernel_version() != plain
    for given in (wrapper, f"'{wrapper}"):  # Not quoted, and with half a quote.
        monkeypatch.setenv("CXX", str(given))
        assert compiler_command()[0] == (str(wrapper) if given == wrapper else f"'{tmp_path}/with")


@needs_compiler
@pytest.mark.usefixtures("copied")
def test_another_compiler_makes_another_kernel(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also other flags of the project's own, and another torch."""
    versions = {kernel_version()}
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-DSOME"))
    versions.add(kernel_version())
    monkeypatch.setattr(torch, "__version__", "2.15.0")
    versions.add(kernel_version())
    assert len(versions) == 3
    other = script(tmp_path / "c++", '[ "$1" = --version ] && echo other || exec g++ "$@"')
    check(shared_kernel())
    monkeypatch.setenv("CXX", str(other))
    check(as_in_a_new_process())
    assert len(list(cache.iterdir())) == 2


@needs_compiler
@pytest.mark.usefixtures("copied")
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
    monkeypatch.setenv("CXX", str(script(tmp_path / "c++", "echo out of letters >&2\nexit 1")))
    assert shared_kernel() is None
    assert "half the speed" in caplog.text and "out of letters" in caplog.text
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("cxx", [None, "no-such-cache g++"])
def test_without_a_compiler_it_says_so_once(
    cxx: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, and what it costs."""
    monkeypatch.delenv("CXX", raising=False)
    if cxx:
        monkeypatch.setenv("CXX", cxx)
    monkeypatch.setenv("PATH", "")
    assert shared_kernel() is None and shared_kernel() is None
    assert not cache.exists()
    (message,) = caplog.messages
    assert "half the speed" in message
    assert ("CXX is 'no-such-cache g++'" if cxx else "g++ is not found") in message


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
@pytest.mark.usefixtures("copied")
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
