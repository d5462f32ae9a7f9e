"""CTC training of a :class:`SpeechModel` on one machine, in plain PyTorch.

Loss: the mean over units of ASR CTC plus that of ST CTC (StreamSpeech, arXiv 2406.03049, uses the
same two with equal weights). Chunk size, left context and look-ahead are drawn anew for every
batch, so that one model serves them all.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import jiwer
import sacrebleu
import torch
from torch import Tensor
from torch.nn import functional

from echostream.decoder.tokenizer import Tokenizer
from echostream.encoder.zipformer import WHOLE_RECORDING
from echostream.model import SpeechModel, save_model
from echostream.training.corpus import Batch, Utterance, collate, make_batches, spec_augment
from echostream.training.text import normalise

logger = logging.getLogger(__name__)

CHUNK_SIZES = (8, 16, 16, 16, 32, 32, 64, WHOLE_RECORDING)
LEFT_CONTEXTS = (64, 128)
# The whole chunk is what the shipped configuration uses; the others are learned along with it.
FUTURES = (None, None, None, None, 0)
_CLIP_NORM = 5.0
# Utterances that make up one example, after the epochs in which each stands alone: CTC finds the
# alignment of single short sentences much sooner.
_JOINED = (1, 1, 2, 3, 4)
_FIRST_CHUNK_SIZES = (64, WHOLE_RECORDING)
_FIRST_ST_WEIGHT = 0.1
_LAST = "last.pt"


@dataclass(frozen=True)
class TrainingOptions:
    """What a run can be told; ``minutes`` is the wall time after which it stops by itself."""

    updates: int = 4500
    minutes: float = math.inf
    peak_rate: float = 1.5e-3
    warmup: int = 300
    weight_decay: float = 0.02
    max_frames: int = 5000
    solo_epochs: int = 8
    average_decay: float = 0.998
    report_every: int = 50
    evaluate_every: int = 400
    seed: int = 1


class Trainer:
    """Owns model, running average of its weights, optimiser and random state of one run."""

    def __init__(
        self,
        model: SpeechModel,
        source: Tokenizer,
        target: Tokenizer,
        folder: Path,
        options: TrainingOptions,
    ) -> None:
        self.model, self.source, self.target = model, source, target
        self.folder, self.options = folder, options
        self.update = 0
        self.epoch = 0
        self.batches_done = 0
        self.average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        matrices = [p for p in model.parameters() if p.dim() > 1]
        rest = [p for p in model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": options.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=options.peak_rate,
            betas=(0.9, 0.98),
        )

    def run(self, train: list[Utterance], dev: list[Utterance]) -> None:
        """Train until the number of updates or the wall time is reached; evaluate and save."""
        started = time.monotonic()
        deadline = started + 60.0 * self.options.minutes
        losses: list[tuple[float, float]] = []
        while self.update < self.options.updates and time.monotonic() < deadline:
            chance = random.Random(f"{self.options.seed}-{self.epoch}")
            joined = (1,) if self.epoch < self.options.solo_epochs else _JOINED
            batches = make_batches(
                train, max_frames=self.options.max_frames, joined=joined, chance=chance
            )
            for batch in itertools.islice(batches, self.batches_done, None):
                losses.append(self._train_on(batch))
                self.batches_done += 1
                if self.update % self.options.report_every == 0:
                    self._report(losses[-self.options.report_every :], started)
                if self.update >= self.options.updates or time.monotonic() >= deadline:
                    break
                if self.update % self.options.evaluate_every == 0:
                    self._evaluate_and_save(dev)
            else:
                self.epoch += 1
                self.batches_done = 0
        self._evaluate_and_save(dev)

    def _train_on(self, batch: Batch) -> tuple[float, float]:
        # Seeded by the update, so that a resumed run draws what the whole run would have.
        chance = random.Random(f"{self.options.seed}-update-{self.update}")
        torch.manual_seed(self.options.seed * 1_000_003 + self.update)
        self.model.train()
        rate = self._learning_rate()
        first_stage = self.epoch < self.options.solo_epochs
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        out = self.model.encoder(
            batch.features if first_stage else spec_augment(batch, chance),
            batch.lengths,
            chunk_size=chance.choice(_FIRST_CHUNK_SIZES if first_stage else CHUNK_SIZES),
            left_context=chance.choice(LEFT_CONTEXTS),
            max_future_frames=chance.choice(FUTURES),
        )
        frames, lengths = out["encoder_out"], out["encoder_out_lengths"]
        asr = ctc_loss(self.model.asr_head(frames), lengths, batch.sources, batch.source_lengths)
        st = ctc_loss(self.model.st_head(frames), lengths, batch.targets, batch.target_lengths)
        loss = asr + (_FIRST_ST_WEIGHT if first_stage else 1.0) * st
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP_NORM)
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        else:
            logger.warning("update %d skipped: its gradient is not finite", self.update)
        self.update += 1
        decay = min(self.options.average_decay, (1 + self.update) / (10 + self.update))
        for name, tensor in self.model.state_dict().items():
            self.average[name].lerp_(tensor, 1.0 - decay)
        return asr.item(), st.item()

    def _learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to a hundredth of the peak."""
        done = self.update + 1
        if done < self.options.warmup:
            return self.options.peak_rate * done / self.options.warmup
        progress = min(1.0, done / self.options.updates)
        return self.options.peak_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _report(self, losses: list[tuple[float, float]], started: float) -> None:
        count = len(losses)
        logger.info(
            "epoch %d update %d: ASR loss %.3f, ST loss %.3f per unit, %.1f min",
            self.epoch,
            self.update,
            sum(asr for asr, _ in losses) / count,
            sum(st for _, st in losses) / count,
            (time.monotonic() - started) / 60,
        )

    def _evaluate_and_save(self, dev: list[Utterance]) -> None:
        current = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        try:
            save_model(self.model, self.folder, dtype=torch.float16)
            if dev:
                logger.info("update %d dev: %s", self.update, self.evaluate(dev))
        finally:
            self.model.load_state_dict(current)
        part = self.folder / f"{_LAST}.part"
        torch.save(
            {
                "model": current,
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                "update": self.update,
                "epoch": self.epoch,
                "batches_done": self.batches_done,
            },
            part,
        )
        part.replace(self.folder / _LAST)

    def resume(self) -> bool:
        """Continue the run whose ``last.pt`` is in the folder; ``False`` if there is none."""
        path = self.folder / _LAST
        if not path.exists():
            return False
        saved = torch.load(path, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.average = saved["average"]
        self.optimiser.load_state_dict(saved["optimiser"])
        self.update, self.epoch = saved["update"], saved["epoch"]
        self.batches_done = saved["batches_done"]
        logger.info("resumed %s at update %d, epoch %d", path, self.update, self.epoch)
        return True

    @torch.no_grad()
    def evaluate(self, utterances: list[Utterance]) -> str:
        """WER of the ASR head and BLEU of the ST head, greedy, chunking of the configuration."""
        self.model.eval()
        spread: list[float] = []
        transcripts, heard = [], []
        references, hypotheses = [], []
        for utterance in utterances:
            batch = collate([(utterance.features[0], (), ())])
            frames = self.model.encoder(batch.features)["encoder_out"]
            spread.append(float(frames[0].std(dim=0).mean()))
            heard.append(self.source.decode(best_path(self.model.asr_head(frames)[0])))
            transcripts.append(normalise(utterance.row.src_text))
            hypotheses.append(self.target.decode(best_path(self.model.st_head(frames)[0])))
            references.append(normalise(utterance.row.tgt_text))
        bleu = sacrebleu.corpus_bleu(hypotheses, [references]).score
        for index in range(0, len(utterances), max(1, len(utterances) // 3)):
            logger.info("  %s | %s", transcripts[index], heard[index])
            logger.info("  %s | %s", references[index], hypotheses[index])
        return (
            f"WER {100 * jiwer.wer(transcripts, heard):.1f} %, BLEU {bleu:.1f}, "
            f"encoder spread over frames {sum(spread) / len(spread):.3f}"
        )


def ctc_loss(log_probs: Tensor, lengths: Tensor, units: Tensor, unit_lengths: Tensor) -> Tensor:
    """CTC loss per unit; ``log_probs`` [B, T, V] with the blank last (Graves et al. 2006)."""
    total = functional.ctc_loss(
        log_probs.transpose(0, 1),
        units,
        lengths,
        unit_lengths,
        blank=log_probs.shape[2] - 1,
        reduction="sum",
        zero_infinity=True,
    )
    return total / unit_lengths.sum().clamp_min(1)


def best_path(log_probs: Tensor) -> list[int]:
    """Units of the most probable path of ``[T, V]`` with the blank last."""
    units = torch.unique_consecutive(log_probs.argmax(dim=1)).tolist()
    return [unit for unit in units if unit != log_probs.shape[1] - 1]
