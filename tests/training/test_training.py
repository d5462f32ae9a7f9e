"""Whole runs: from the command line, killed and resumed, by two processes, exported."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from echostream.commands import train as cli
from echostream.commands.checkpoint import main as export_command
from echostream.config import load_config, save_config
from echostream.errors import CheckpointError, ConfigError
from echostream.model import load_model
from echostream.training.export import export
from echostream.training.fairseq_checkpoints import (
    averaged_model,
    last_checkpoints,
    read_checkpoint,
)
from echostream.training.fairseq_run import fairseq_arguments, run_fairseq
from echostream.training.preparation import prepare
from echostream.training.run_options import TrainingOptions
from echostream.training.run_record import HISTORY, read_history

from .conftest import CONFORMER, ZIPFORMER

pytest.importorskip("fairseq", reason="fairseq is not installed")

from echostream.training.fairseq_plugin.task import SpeechTask  # noqa: E402

OPTIONS = TrainingOptions(
    updates=8, max_frames=150, solo_epochs=1, workers=0, save_every=3, report_every=2
)


def arguments(corpus: Path, run: Path, *more: str, kind: str = "zipformer") -> list[str]:
    """The command line of a run of eight updates, one and a half epochs."""
    system = corpus / f"{kind}.yaml"
    prepare(load_config(system), corpus, run)
    return fairseq_arguments(system, load_config(system), corpus, run, OPTIONS, more=more)


def losses(run: Path) -> list[tuple[int, float, float]]:
    """Update and losses of every line of history, with six digits."""
    return [
        (record["update"], record["asr_ctc_loss"], record["st_ctc_loss"])
        for record in read_history(run, "train")
    ]


def same_network(first: Path, second: Path) -> None:
    """Both runs ended with networks that give the same, and so do the averages of their weights.

    Weights themselves differ where the loss does not depend on them: there a gradient is nothing
    but rounding, and Adam makes steps of it.
    """
    features = torch.randn(1, 120, 80, generator=torch.Generator().manual_seed(1))
    paths = [run / "fairseq" / "checkpoint_last.pt" for run in (first, second)]
    states = [read_checkpoint(path) for path in paths]
    assert states[0].updates == states[1].updates
    for running in (False, True):
        one, other = (averaged_model([state], running=running) for state in states)
        with torch.no_grad():
            ours, theirs = (m.st_head(m.encoder(features)["encoder_out"]) for m in (one, other))
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def whole(shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not stopped."""
    run = tmp_path_factory.mktemp("whole")
    run_fairseq(arguments(shared_corpus, run))
    return run


def test_a_run_leaves_scalars_history_and_checkpoints(whole: Path) -> None:
    assert [update for update, _, _ in losses(whole)] == [2, 4, 6, 8]
    (*_, dev) = read_history(whole, "dev")
    assert dev["update"] == 8 and dev["wer"] > 0 and 0.0 < dev["frame_variance"] < 1.0
    assert list((whole / "tensorboard").rglob("events.out.tfevents.*"))
    state = read_checkpoint(whole / "fairseq" / "checkpoint_last.pt")
    assert state.config == ZIPFORMER and state.updates == 8 and state.epoch == 2
    assert any(not torch.equal(state.weights[k], v) for k, v in state.average.items())


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    shared_corpus: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SpeechTask.train_step

    def killed(self: SpeechTask, *args: Any, **kwargs: Any) -> Any:
        if kwargs["update_num"] == 5:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SpeechTask, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_fairseq(arguments(shared_corpus, tmp_path))
    state = read_checkpoint(tmp_path / "fairseq" / "checkpoint_last.pt")
    assert state.updates == 3, "the kill should come between two checkpoints, within an epoch"
    run_fairseq(arguments(shared_corpus, tmp_path))
    same_network(whole, tmp_path)
    found, expected = losses(tmp_path), losses(whole)
    # A line of history is the mean since the line before, and the kill cut one in two.
    for ours, theirs in zip(found[-2:], expected[-2:], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one_with_the_same_batches(
    shared_corpus: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    # From the command line, as a user of fairseq does it.
    command = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.train"]
    command += arguments(shared_corpus, one, "--update-freq", "2", "--max-update", "5")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    run_fairseq(arguments(shared_corpus, two, "--max-update", "5"), processes=2)
    same_network(one, two)
    for found, expected in zip(losses(two), losses(one), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    (*_, first), (*_, second) = (read_history(run, "dev") for run in (one, two))
    assert second == pytest.approx(first, rel=1e-4)
    # Both go on from their checkpoints.
    run_fairseq(arguments(shared_corpus, one, "--update-freq", "2"))
    run_fairseq(arguments(shared_corpus, two), processes=2)
    same_network(one, two)
    assert losses(two)[-1] == pytest.approx(losses(one)[-1], rel=1e-4)
    assert losses(two)[-1][0] == OPTIONS.updates


def running() -> dict[int, int]:
    """The processes of this machine that have not ended, and which process started each."""
    command = ["ps", "-eo", "pid=,ppid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(own): int(parent) for own, parent, state in rows if "Z" not in state}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not there")
def test_processes_do_not_outlive_the_one_that_started_them(
    shared_corpus: Path, tmp_path: Path
) -> None:
    """Killed in the background of a script, where children inherit to ignore interrupts."""
    train = "from echostream.cli import main; import sys; main(sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", train, "train"]
    command += [str(shared_corpus / "zipformer.yaml"), "--data", str(shared_corpus)]
    command += ["--output", str(tmp_path), "--updates", "1000000", "--processes", "2"]
    command += ["--save-every", "1000000", "--max-frames", "150"]
    script = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    with subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / HISTORY).exists():
                assert started.poll() is None and time.monotonic() < deadline, "it never trained"
                time.sleep(0.2)
            ours = {own for own, parent in running().items() if parent == started.pid}
            assert len(ours) >= 2
        finally:
            started.kill()
            started.wait()
    deadline = time.monotonic() + 30
    while left := ours & running().keys():
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.2)


def test_an_exported_run_encodes_as_the_trained_network_does(whole: Path, tmp_path: Path) -> None:
    folder = export(whole, tmp_path / "out", dtype=torch.float32)
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "source.model", "target.model"} <= names
    trained = averaged_model([read_checkpoint(whole / "fairseq" / "checkpoint_last.pt")])
    exported = load_model(folder)
    features = torch.randn(1, 90, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = trained.encoder(features)["encoder_out"]
        assert torch.equal(exported.encoder(features)["encoder_out"], expected)
    assert torch.equal(exported.cmvn_mean, trained.cmvn_mean)
    card = (folder / "README.md").read_text()
    assert "8 updates" in card and "WER" in card


def test_earlier_and_averaged_checkpoints_are_exported(whole: Path, tmp_path: Path) -> None:
    states = [read_checkpoint(path) for path in last_checkpoints(whole / "fairseq", 3)]
    updates = [state.updates for state in states]
    assert updates == sorted(set(updates)) and updates[-1] == 8 and len(updates) >= 2
    export(whole, tmp_path, average=2, running=False, dtype=torch.float32)
    exported = load_model(tmp_path).state_dict()
    for name, tensor in exported.items():
        expected = (states[-2].weights[name] + states[-1].weights[name]) / 2
        torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(CheckpointError, match="at least the 9"):
        export(whole, tmp_path, average=9)
    earlier, last = last_checkpoints(whole / "fairseq", 2)
    update = read_checkpoint(earlier).updates
    assert last_checkpoints(whole / "fairseq", 1, update) == [earlier]
    paths = last_checkpoints(whole / "fairseq", 9, update)
    assert paths == last_checkpoints(whole / "fairseq", 9)[: len(paths)] and paths[-1] == earlier
    arguments = ["--output", str(tmp_path), "--update", str(update), "--dtype", "float32"]
    assert export_command([str(whole), *arguments]) == 0
    exported, expected = load_model(tmp_path).state_dict(), read_checkpoint(earlier).average
    assert exported.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in exported.items())
    head = "asr_head.projection.weight"
    assert not torch.equal(exported[head], read_checkpoint(last).average[head])
    with pytest.raises(CheckpointError, match=rf"no checkpoint of update 7; .*{update}"):
        export(whole, tmp_path, update=7)


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="echostream_speech"):
        read_checkpoint(tmp_path / "other.pt")


def test_the_short_form_trains_goes_on_and_exports(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = tmp_path / "run"
    command = [str(corpus / "conformer.yaml"), "--data", str(corpus), "--output", str(run)]
    command += ["--max-frames", "200", "--workers", "0"]
    assert cli.main([*command, "--updates", "2"]) == 0
    first = load_model(run)
    assert first.config == CONFORMER
    assert cli.main([*command, "--updates", "4", "--fairseq-options", "--st-ctc-weight", "2"]) == 0
    assert "going on at update 2" in caplog.text
    second = load_model(run)
    assert not torch.equal(first.st_head.projection.weight, second.st_head.projection.weight)
    record = json.loads((run / "run.json").read_text())
    assert record["train"] == [["c", 8, pytest.approx(5.8, abs=0.1)]]
    assert cli.main([*command, "--updates", "4"]) == 0  # nothing left to do but export
    assert read_checkpoint(run / "fairseq" / "checkpoint_last.pt").updates == 4


def test_what_cannot_be_trained_is_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    system = [str(corpus / "zipformer.yaml")]
    nowhere = [*system, "--data", str(tmp_path / "nowhere"), "--output", run]
    assert cli.main(nowhere) == 1
    assert "nowhere" in capsys.readouterr().err
    large = load_config(system[0])
    save_config(type(large)(**{**vars(large), "st_vocab_size": 900}), corpus / "large.yaml")
    command = ["--data", str(corpus), "--output", run]
    assert cli.main([str(corpus / "large.yaml"), *command]) == 1
    assert "vocabulary of 900 units" in capsys.readouterr().err
    for name in ("updates", "minutes"):
        assert cli.main([*system, *command, f"--{name}", "0"]) == 1
        assert f"{name} is 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--asr-ctc-weight", "-1"), "asr_ctc_weight is -1"),
        (("--asr-ctc-weight", "0", "--st-ctc-weight", "0"), "nothing would be trained"),
        (("--arch", "streamspeech_conformer"), "expected --arch echostream_zipformer"),
        (("--valid-subset", "test"), "no recordings of the part 'test'"),
    ],
)
def test_wrong_options_are_named(
    shared_corpus: Path, tmp_path: Path, option: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        run_fairseq(arguments(shared_corpus, tmp_path, *option))
    with pytest.raises(ConfigError, match=r"encoder\.name = 'zipformer'"):
        prepare(CONFORMER, shared_corpus, tmp_path)
