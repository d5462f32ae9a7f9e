"""What a wheel holds, and that it works where the repository is not."""

import configparser
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BUILD = "import sys, setuptools.build_meta as build; build.build_wheel(sys.argv[1])"

SIMULEVAL = "import sys; from simuleval.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tracked files and those that are about to be, built outside the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    packed = ("echostream", "configs", "checkpoints/tiny-es-en")
    for name in listed.stdout.decode().split("\0"):
        source, copy = ROOT / name, folder / "tree" / name
        if ("/" not in name or name.startswith(packed)) and source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        elif source.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(source.readlink())
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=folder / "tree",
        capture_output=True,
        check=True,
    )
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_all_that_is_read_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"echostream/shipped/configs/{path.name}" for path in ROOT.glob("configs/*.yaml")}
    checkpoint = ("config.json", "model.safetensors", "source.model", "target.model")
    shipped |= {f"echostream/shipped/tiny-es-en/{name}" for name in checkpoint}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("echostream/**/*.py")}
    kernel = {f"echostream/kernel/{p.name}" for p in ROOT.glob("echostream/kernel/*.[ch]*")}
    # Whatever is beside a module and is no module is read by it.
    beside = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("echostream/**/*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and "compiled" not in path.parts
        and "shipped" not in path.parts
    }
    assert names >= shipped | modules | kernel | beside
    assert not [name for name in names if name.startswith(("tests/", "eval/", "agents/"))]


def test_every_requirement_has_bounds_and_simuleval_has_its_needs() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = dict(config["options.extras_require"])
    lines = "\n".join((config["options"]["install_requires"], *extras.values())).split("\n")
    for requirement in filter(None, lines):
        assert re.fullmatch(r"[\w-]+(\[\w+\])? (==[\d.]+|>=[\d.]+,<[\d.]+)(; .*)?", requirement), (
            requirement
        )
    # SimulEval's main branch imports matplotlib, its release the others.
    for name in ("matplotlib", "pandas", "tqdm", "textgrid", "tornado", "requests"):
        assert f"\n{name} " in extras["simuleval-needs"]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own, as an installer would lay them out."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """The command with the installed files in front of everything, away from the repository."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_commands_and_simuleval_work_without_the_repository(
    installed: Path, tmp_path: Path
) -> None:
    entry_points = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "echostream = echostream.cli:main" in entry_points
    config = "import echostream.config as c; print(c.__file__, c.load_config('tiny').encoder.name)"
    loaded = run(installed, tmp_path, "-c", config).stdout
    assert loaded.startswith(str(installed)) and loaded.endswith(" zipformer\n")
    listed = run(installed, tmp_path, "-m", "echostream", "list")
    assert "wait-k" in listed.stdout, listed.stderr
    clip = ROOT / "eval" / "clips" / "numero.ogg"
    (tmp_path / "wav_list").write_text(f"{clip}\n")
    (tmp_path / "target").write_text("a number\n")
    agent = "echostream.hosts.simuleval.agent.EchoStreamAgent"
    files = ("--source", "wav_list", "--target", "target", "--output", "out")
    spoken = run(
        installed, tmp_path, "-c", SIMULEVAL, "--agent-class", agent, *files,
        "--source-segment-size", "320",
    )  # fmt: skip
    assert spoken.returncode == 0, spoken.stderr
    assert '"prediction": "' in (tmp_path / "out" / "instances.log").read_text()
