"""What a run begins with: random weights, or those of a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from echostream.commands import train as cli
from echostream.config import save_config
from echostream.decoder.tokenizer import Tokenizer
from echostream.model import SpeechModel, load_model, save_model
from echostream.training.preparation import prepare, start_from

from .conftest import CONFORMER, ZIPFORMER

pytest.importorskip("fairseq", reason="fairseq is not installed")

from echostream.training.fairseq_plugin.model import StreamSpeechConformer  # noqa: E402
from echostream.training.fairseq_plugin.plugin_options import SpeechModelConfig, SpeechTaskConfig  # noqa: E402
from echostream.training.fairseq_plugin.task import SpeechTask  # noqa: E402


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
