"""Training: batches, losses, text, and a run that is stopped and goes on."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from echostream.config import EncoderConfig, SystemConfig, save_config
from echostream.decoder import Tokenizer
from echostream.model import load_model
from echostream.training.cli import main
from echostream.training.corpus import Batch, Utterance, collate, make_batches, spec_augment
from echostream.training.recipes.manifest import ManifestRow, write_manifest
from echostream.training.text import normalise
from echostream.training.trainer import Trainer, TrainingOptions, best_path, ctc_loss

ROW = ManifestRow("x", "c", "train", "a.flac", 16_000, 1.0, "s", "es", "en", "uno", "one", "none")


# Small batches, so that there are several in an epoch, and a save between two of them.
SHORT = functools.partial(TrainingOptions, evaluate_every=3, solo_epochs=1)


def utterances(lengths: list[int]) -> list[Utterance]:
    """Utterance ``n`` has features, source and target that are all ``n``."""
    return [
        Utterance(ROW, (np.full((length, 4), n, np.float32),), (n,), (n, n))
        for n, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("joined", [(1,), (1, 1, 2, 3, 4)])
def test_an_epoch_has_every_utterance_once_and_keeps_its_parts_together(
    joined: tuple[int, ...],
) -> None:
    chance = random.Random(5)
    lengths = [chance.randrange(20, 300) for _ in range(60)]
    seen: Counter[int] = Counter()
    for batch in make_batches(
        utterances(lengths), max_frames=1200, joined=joined, chance=random.Random(1)
    ):
        rows, frames, _ = batch.features.shape
        assert rows == 1 or rows * frames <= 1200
        sources = iter(batch.sources.tolist())
        for row, (length, count) in enumerate(
            zip(batch.lengths.tolist(), batch.source_lengths.tolist(), strict=True)
        ):
            members = list(itertools.islice(sources, count))
            seen.update(members)
            expected = [n for n in members for _ in range(lengths[n])]
            assert batch.features[row, :length, 0].tolist() == expected
            assert not batch.features[row, length:].any()
        doubled = [n for n in batch.sources.tolist() for _ in range(2)]
        assert batch.targets.tolist() == doubled
    assert seen == Counter(range(60))


def test_augmentation_leaves_padding_and_input_alone() -> None:
    batch = collate([(np.ones((400, 80), np.float32), (1,), (1,)), (np.ones((90, 80)), (), ())])
    before = batch.features.clone()
    changed = spec_augment(batch, random.Random(2))
    assert torch.equal(batch.features, before)
    assert not changed[1, 90:].any()
    assert (changed != before).any()
    assert changed[0].count_nonzero() > 0.4 * changed[0].numel()


def test_ctc_loss_is_minus_log_of_the_sum_over_alignments() -> None:
    log_probs = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1)).log_softmax(2)
    units = (0, 1)
    total = 0.0
    for path in itertools.product(range(3), repeat=4):
        collapsed = tuple(unit for unit, _ in itertools.groupby(path) if unit != 2)
        if collapsed == units:
            total += math.exp(sum(float(log_probs[0, t, u]) for t, u in enumerate(path)))
    loss = ctc_loss(log_probs, torch.tensor([4]), torch.tensor(units), torch.tensor([2]))
    assert float(loss) == pytest.approx(-math.log(total) / 2, rel=1e-5)


def test_best_path_collapses_repeats_and_drops_blanks() -> None:
    path = [2, 0, 0, 2, 0, 1, 1, 2]
    assert best_path(torch.eye(3)[path].log()) == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("¿Dónde está la llave?", "dónde está la llave"),
        ("Press 1, or 'wait'...", "press 1 or wait"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t  stop", "don't stop"),
        ("snake_case -- ' --", "snake case"),
        ("\ufb01n", "fin"),
        ("", ""),
    ],
)
def test_text_is_normalised(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six made-up recordings and a manifest."""
    chance = np.random.default_rng(1)
    words = "uno dos tres cuatro cinco seis siete ocho nueve diez".split()  # noqa: SIM905
    rows = []
    for number in range(6):
        length = 8_000 + 1_000 * number
        soundfile.write(tmp_path / f"{number}.flac", 0.1 * chance.standard_normal(length), 16_000)
        text = " ".join(words[number : number + 4])
        rows.append(
            dataclasses.replace(
                ROW,
                id=str(number),
                split="dev" if number == 5 else "train",
                audio=f"{number}.flac",
                num_samples=length,
                seconds=length / 16_000,
                src_text=text,
                tgt_text=text[::-1],
            )
        )
    write_manifest(tmp_path / "manifest.tsv", rows)
    small = EncoderConfig(
        embed_dim=(16,) * 6,
        num_heads=2,
        ffn_dim=(32,) * 6,
        num_layers_per_stack=1,
        stem_channels=(2, 4, 4),
        memory_dim=16,
    )
    save_config(
        SystemConfig(asr_vocab_size=18, st_vocab_size=18, encoder=small), tmp_path / "system.yaml"
    )
    return tmp_path


def test_a_run_leaves_a_checkpoint_and_goes_on_where_it_was(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = corpus / "run"
    command = [str(corpus / "system.yaml"), "--data", str(corpus), "--output", str(output)]
    assert main([*command, "--updates", "3", "--speeds", "1.1"]) == 0
    first = load_model(output)
    assert first.cmvn_std.min() > 0
    assert Tokenizer.from_file(output / "source.model").vocab_size == 18
    assert main([*command, "--updates", "5"]) == 0
    assert "resumed" in caplog.text and "at update 3" in caplog.text
    assert "update 5 dev" in caplog.text
    second = load_model(output)
    assert not torch.equal(first.st_head.projection.weight, second.st_head.projection.weight)


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echostream.training.cli.TrainingOptions", SHORT)
    command = [str(corpus / "system.yaml"), "--data", str(corpus), "--updates", "8"]
    command += ["--max-frames", "150"]
    assert main([*command, "--output", str(corpus / "whole")]) == 0
    with monkeypatch.context() as patch:
        train_on = Trainer._train_on

        def killed(self: Trainer, batch: Batch) -> tuple[float, float]:
            if self.update == 5:
                raise KeyboardInterrupt
            return train_on(self, batch)

        patch.setattr(Trainer, "_train_on", killed)
        with pytest.raises(KeyboardInterrupt):
            main([*command, "--output", str(corpus / "killed")])
    assert main([*command, "--output", str(corpus / "killed")]) == 0
    whole = torch.load(corpus / "whole" / "last.pt", weights_only=True)
    killed_run = torch.load(corpus / "killed" / "last.pt", weights_only=True)
    assert killed_run["update"] == whole["update"] == 8
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(killed_run["model"][name], tensor, rtol=1e-5, atol=1e-6)


def test_missing_data_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_config(SystemConfig(), tmp_path / "system.yaml")
    assert main([str(tmp_path / "system.yaml"), "--data", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in caplog.text


def test_a_vocabulary_too_large_for_the_texts_is_named(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = (corpus / "system.yaml").read_text().replace("st_vocab_size: 18", "st_vocab_size: 900")
    (corpus / "system.yaml").write_text(config)
    assert main([str(corpus / "system.yaml"), "--data", str(corpus), "--output", str(corpus)]) == 1
    assert "vocabulary of 900 units" in caplog.text
