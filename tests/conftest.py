"""For all tests: one torch thread, and the systems that most of them speak to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Small tensors: a second thread costs more than it gives, and the tests must not crowd the machine.
# Agents and training set their own number, by their options. Child processes read the variable.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch  # noqa: E402

from echostream.backend import openvino_engine  # noqa: E402
from echostream.kernel import Kernel, shared_kernel  # noqa: E402
from echostream.session import SystemOptions, Translator, build_translator  # noqa: E402
from tests import shared  # noqa: E402
from tests.backend.compiled import export_once  # noqa: E402
from tests.small_system import make_checkpoint  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    shared.begin(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _shared_graphs(_shared_folder: None) -> Iterator[None]:
    """Equal graphs start from one file, and OpenVINO keeps what it has compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_engine, "export_onnx", export_once)
        compiled = shared.made_once("openvino", lambda folder: None)
        patch.setitem(openvino_engine.SETTINGS, "CACHE_DIR", str(compiled))
        yield


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """The project's kernel, compiled if it is not there."""
    found = shared_kernel()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder of the small checkpoint; graphs that are compiled for it are kept in it."""
    return shared.made_once("checkpoint", make_checkpoint)


@pytest.fixture(scope="session")
def translate(checkpoint: Path) -> Callable[..., Translator]:
    """Makes a translator of the small checkpoint from agent options."""

    def make(**options: object) -> Translator:
        return build_translator(SystemOptions(checkpoint=str(checkpoint), **options))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def shipped() -> Translator:
    """The checkpoint that comes with the project, which has learned what silence is."""
    return build_translator(SystemOptions())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test shows goes with its report, also from a worker to the process that counts."""
    for item in items:
        for marker in item.iter_markers("fault"):
            item.user_properties += [("fault", number) for number in marker.args]
