"""What a run begins with, and what it leaves about itself: its course, its curves."""

import dataclasses
from pathlib import Path

import pytest
import torch

from echostream.commands import train as cli
from echostream.config import save_config
from echostream.decoder.tokenizer import Tokenizer
from echostream.model import SpeechModel, load_model, save_model
from echostream.training.export import draw_plots
from echostream.training.fairseq_plugin.model import StreamSpeechConformer  # noqa: E402
from echostream.training.fairseq_plugin.plugin_options import SpeechModelConfig, SpeechTaskConfig  # noqa: E402
from echostream.training.fairseq_plugin.task import SpeechTask  # noqa: E402
from echostream.training.preparation import prepare, start_from
from echostream.training.run_record import (
    HISTORY,
    append_history,
    read_history,
    read_record,
    record_run,
)

from .conftest import CONFORMER, ZIPFORMER

pytest.importorskip("fairseq", reason="fairseq is not installed")


def test_the_baseline_starts_with_small_branches(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(CONFORMER, corpus, tmp_path)
    task = SpeechTask(SpeechTaskConfig(data=str(corpus)), prepared, tmp_path)
    torch.manual_seed(3)
    model = StreamSpeechConformer.build_model(SpeechModelConfig(), task)
    torch.manual_seed(3)
    expected = SpeechModel(CONFORMER)
    last = (
        *("ffn1.w_2.weight", "ffn2.w_2.weight"),
        *("self_attn.linear_out.weight", "conv_module.pointwise_conv2.weight"),
    )
    small = {f"encoder.conformer_layers.{n}.{name}" for n in range(2) for name in last}
    for name, weight in expected.named_parameters():
        factor = 0.1 if name in small else 1.0
        torch.testing.assert_close(model.network.get_parameter(name), factor * weight)


def test_training_is_float32_whatever_the_hosts_default(corpus: Path, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        prepared = prepare(CONFORMER, corpus, tmp_path)
        task = SpeechTask(SpeechTaskConfig(data=str(corpus)), prepared, tmp_path)
        model = StreamSpeechConformer.build_model(SpeechModelConfig(), task)
        task.load_dataset("train")
        dataset = task.datasets["train"]
        batch = dataset.collater([dataset[0], dataset[1]])
    finally:
        torch.set_default_dtype(torch.float32)
    types = {value.dtype for value in model.state_dict().values() if value.is_floating_point()}
    assert types | {batch["net_input"]["features"].dtype} == {torch.float32}


def test_a_run_starts_from_a_checkpoint(corpus: Path, tmp_path: Path) -> None:
    """A vocabulary of another size is made from the data, the rest is the checkpoint's."""
    few = ["--data", str(corpus), "--max-frames", "200", "--workers", "0", "--updates", "2"]
    first, second = tmp_path / "first", tmp_path / "second"
    prepare(ZIPFORMER, corpus, first)
    save_model(SpeechModel(ZIPFORMER), first)
    other = dataclasses.replace(ZIPFORMER, asr_vocab_size=ZIPFORMER.asr_vocab_size + 1)
    save_config(other, tmp_path / "other.yaml")
    command = [str(tmp_path / "other.yaml"), *few, "--start-from", str(first)]
    # A rate of next to nothing leaves the weights as they are.
    command += ["--peak-rate", "1e-12", "--output", str(second)]
    assert cli.main(command) == 0
    a, b = (load_model(run).state_dict() for run in (first, second))
    for name in a:
        kept = a[name].shape == b[name].shape
        assert kept == (not name.startswith("asr_head."))
        # The run is exported in half precision.
        assert not kept or torch.allclose(a[name], b[name], rtol=1e-3, atol=1e-3)
    sizes = [Tokenizer.from_file(run / "source.model").vocab_size for run in (first, second)]
    assert sizes[1] == sizes[0] + 1
    # The vocabularies that fit are the checkpoint's, whatever the data.
    (first / "target.model").write_bytes((first / "source.model").read_bytes())
    start_from(first, other, tmp_path / "third")
    assert (tmp_path / "third/target.model").read_bytes() == (first / "source.model").read_bytes()


def test_a_run_starts_from_no_other_network(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dataclasses.replace(ZIPFORMER.audio, lead_in_samples=480)
    save_model(SpeechModel(dataclasses.replace(ZIPFORMER, audio=other)), tmp_path / "checkpoint")
    command = [str(corpus / "zipformer.yaml"), "--data", str(corpus)]
    command += ["--output", str(tmp_path / "run"), "--start-from", str(tmp_path / "checkpoint")]
    assert cli.main(command) == 1
    assert "lead_in_samples = 480" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_of_an_update_that_was_made_twice_the_last_counts(tmp_path: Path) -> None:
    assert read_history(tmp_path, "train") == []
    for update, loss in ((50, 5.0), (100, 4.0), (150, 3.5), (100, 3.9), (150, 3.4)):
        append_history(tmp_path, {"part": "train", "update": update, "loss": loss})
    append_history(tmp_path, {"part": "dev", "update": 100, "loss": 9.0})
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"part": "train", "upda')
    assert [r["loss"] for r in read_history(tmp_path, "train")] == [5.0, 3.9, 3.4]
    assert [r["update"] for r in read_history(tmp_path, "dev")] == [100]


def test_curves_are_drawn_from_the_history(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="curves need matplotlib")
    assert draw_plots(tmp_path, tmp_path) == []
    shares = {"frame_variance": 0.7, "utterance_variance": 0.1}
    for update in range(50, 500, 50):
        losses = {"update": update, "asr_ctc_loss": 9 / update, "st_ctc_loss": 1.0}
        append_history(tmp_path, {"part": "train", **losses})
        append_history(tmp_path, {"part": "dev", **losses, **shares})
    drawn = draw_plots(tmp_path, tmp_path)
    assert [path.name for path in drawn] == ["losses.svg", "variance.svg"]
    for path in drawn:
        data = path.read_bytes()
        assert data.lstrip().startswith(b"<?xml") and len(data) > 5_000


def test_record_of_a_run_that_was_continued_otherwise(tmp_path: Path) -> None:
    for updates, command in ((0, "first"), (5, "first"), (9, "second"), (12, "second")):
        record_run(tmp_path, command, 1, [], updates=updates)
    record = read_record(tmp_path)
    assert record is not None and record.commands == ((0, "first"), (9, "second"))
    # Another run in the same place.
    assert record_run(tmp_path, "third", 1, []).commands == ((0, "third"),)
