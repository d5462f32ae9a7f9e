"""The chunking that is drawn for a batch is the chunking it is encoded with."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from echostream.config import load_config
from echostream.encoder import registry
from echostream.errors import ConfigError
from echostream.training.drawn_chunks import choices_for, draw_chunking
from echostream.training.preparation import prepare

from .conftest import CONFORMER, ZIPFORMER

ENCODERS = tuple(registry.create(config.encoder) for config in (ZIPFORMER, CONFORMER))
ZIPFORMER_CHOICES, CONFORMER_CHOICES = map(choices_for, ENCODERS)
FRAMES_OF = {"zipformer": 2, "conformer": 4}
"""Feature frames of an encoder frame."""


def test_every_choice_is_drawn_as_often_as_it_is_given() -> None:
    chance = random.Random(1)
    drawn = [draw_chunking(ZIPFORMER_CHOICES, chance, False) for _ in range(4000)]
    sizes = [draw["chunk_size"] for draw in drawn]
    expected = {16: 0.375, 32: 0.25, 8: 0.125, 64: 0.125, -1: 0.125}
    assert {size: sizes.count(size) / 4000 for size in set(sizes)} == pytest.approx(
        expected, abs=0.03
    )
    assert {draw["left_context"] for draw in drawn} == {64, 128}
    assert {draw["max_future_frames"] for draw in drawn} == {None, 0}
    first = [draw_chunking(ZIPFORMER_CHOICES, chance, True)["chunk_size"] for _ in range(99)]
    assert set(first) == {64, -1}
    # The conformer's convolution never reaches beyond its chunk.
    for _ in range(500):
        draw = draw_chunking(CONFORMER_CHOICES, chance, False)
        assert draw.keys() == {"chunk_size", "conv_chunk_size"}
        assert draw["conv_chunk_size"] <= draw["chunk_size"]
    # Both draw the same in milliseconds, of frames of 20 and 40 ms.
    sizes = [None if size is None else size * 2 for size in CONFORMER_CHOICES.chunk_sizes]
    assert list(ZIPFORMER_CHOICES.chunk_sizes) == sizes


def test_options_replace_choices_and_are_checked() -> None:
    choices = choices_for(ENCODERS[0], "16, 8,whole")
    assert choices.chunk_sizes == (16, 8, None) and choices.first_chunk_sizes == (16, None)
    assert choices.others == ZIPFORMER_CHOICES.others
    for wrong in ("12", "big"):
        with pytest.raises(ConfigError):
            choices_for(ENCODERS[0], wrong)


class Reach:
    """Watches an encoder: how far the first frame of each batch's output saw, in feature frames.

    That is asked of the encoder as it is during the step, with what it was called with, but without
    dropout and in evaluation mode, since a batch norm in training sees the whole batch.
    """

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.seen: list[tuple[dict[str, Any], int, int]] = []
        self.asking = False
        encoder.register_forward_hook(self._after, with_kwargs=True)

    def _after(
        self, encoder: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any
    ) -> None:
        if self.asking:
            return
        # The longest recording of the batch, so that padding does not shorten the reach.
        row, length = int(args[1].argmax()), int(args[1].max())
        features = args[0].detach().requires_grad_()
        self.asking = True
        out = encoder.eval()(features, args[1], **kwargs)["encoder_out"]
        encoder.train()
        self.asking = False
        first: Tensor = out[row, 0]
        # Not their sum, which a layer norm makes the same for every input.
        mixed = (first * torch.linspace(-1.0, 2.0, len(first)) ** 2).sum()
        (gradient,) = torch.autograd.grad(mixed, features)
        reach = int(gradient[row].abs().sum(dim=1).nonzero().max()) + 1
        self.seen.append((kwargs, reach, length))

    def mismatches(self, frames_of: int) -> list[tuple[dict[str, Any], int, int]]:
        """The batches in which the reach is not the drawn chunk."""
        wrong = []
        for kwargs, reach, length in self.seen:
            size = kwargs["chunk_size"]
            expected = length if size in (-1, 99_999) else min(length, size * frames_of)
            # The last feature frames of a recording may not make up an encoder frame.
            if not expected - frames_of < reach <= expected:
                wrong.append((kwargs, reach, length))
        return wrong


def train_steps(corpus: Path, run: Path, kind: str) -> Reach:
    """What the encoder saw in the steps of four short epochs."""
    pytest.importorskip("fairseq", reason="fairseq is not installed")
    from echostream.training.fairseq_plugin.criterion import MultitaskCriterion
    from echostream.training.fairseq_plugin.model import EchoStreamZipformer, StreamSpeechConformer
    from echostream.training.fairseq_plugin.plugin_options import (
        MultitaskConfig,
        SpeechModelConfig,
        SpeechTaskConfig,
    )
    from echostream.training.fairseq_plugin.task import SpeechTask

    prepared = prepare(load_config(corpus / f"{kind}.yaml"), corpus, run)
    options = SpeechTaskConfig(
        data=str(corpus), solo_epochs=0, augment="none", max_tokens=400, seed=3
    )
    task = SpeechTask(options, prepared, run)
    architecture = {"zipformer": EchoStreamZipformer, "conformer": StreamSpeechConformer}[kind]
    model = architecture.build_model(SpeechModelConfig(), task)
    if kind == "zipformer":
        others = {**model.choices.others, "max_future_frames": (None,)}
        model.choices = dataclasses.replace(model.choices, others=others)
    criterion = MultitaskCriterion(MultitaskConfig(), task)

    class Optimizer:
        def backward(self, loss: Tensor) -> None:
            """Nothing is learned here."""

    task.load_dataset("train")
    dataset = task.dataset("train")
    dataset.joined = (2, 3, 4)
    reach = Reach(model.network.encoder)
    for epoch in range(1, 5):
        dataset.set_epoch(epoch)
        batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=400)
        # The longest first: a mask that is kept until a longer batch comes would then stay.
        for batch in reversed(batches):
            sample = dataset.collater([dataset[int(index)] for index in batch])
            task.train_step(sample, model, criterion, Optimizer(), update_num=len(reach.seen))
    return reach


@pytest.mark.parametrize("kind", ["zipformer", "conformer"])
def test_the_drawn_chunk_is_in_force(corpus: Path, tmp_path: Path, kind: str) -> None:
    reach = train_steps(corpus, tmp_path / "run", kind)
    assert len(reach.seen) >= 8
    assert len({kwargs["chunk_size"] for kwargs, _, _ in reach.seen}) >= 3
    assert reach.mismatches(FRAMES_OF[kind]) == []


def test_a_mask_that_is_kept_is_caught(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published encoder's fault: a new mask only for a longer input, whatever the chunk."""
    from echostream.baseline import chunk_conformer

    right = chunk_conformer.hidden_keys
    kept: list[Tensor | None] = []
    longest = 0

    def stale(
        past: int, frames: int, chunk: int, lengths: Tensor | None, device: torch.device
    ) -> Tensor | None:
        nonlocal longest
        if frames > longest:
            longest = frames
            kept[:] = [right(past, frames, chunk, None, device)]
        mask = kept[0]
        return None if mask is None else mask[:, :, :frames, :frames]

    monkeypatch.setattr(chunk_conformer, "hidden_keys", stale)
    reach = train_steps(corpus, tmp_path / "run", "conformer")
    assert len(reach.mismatches(FRAMES_OF["conformer"])) >= 2
