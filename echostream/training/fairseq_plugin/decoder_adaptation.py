"""``--task echostream_decoder_adaptation``: encoder and text decoder learn to stream together.

The second stage of an adaptation. To the error of the encoder's output come the divergence of the
decoder's answers from those that it gives offline, and the cross-entropy of transcripts and
translations, all under chunk masks and with what a decoder has heard when it writes. The encoder's
weights all learn, the decoder's by low-rank changes. A student's CTC heads learn from the same
texts, in its first stage too, where there is no decoder yet. See ``docs/whisper.md``.

Without ``from __future__ import annotations``: fairseq reads the types of the fields.

Symbols: ``T`` encoder frames, ``n`` tokens or units, ``V`` vocabulary.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from fairseq.tasks import register_task
from torch import Tensor

from echostream.constants import SAMPLE_RATE
from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.errors import DataError
from echostream.model.checkpoint import tokens_path
from echostream.training.adaptation.decoder_teacher import DecoderTeacher, Lesson
from echostream.training.adaptation.encoder import base_decoder, go_on_from
from echostream.training.adaptation.few_shapes import TOKENS, padded
from echostream.training.adaptation.held_out_texts import HeldOutTexts
from echostream.training.adaptation.low_rank import make_low_rank
from echostream.training.adaptation.spelling import Spelling, make_speller
from echostream.training.adaptation.teacher import spread_of
from echostream.training.adaptation.texts import Dictator, grouped, read_texts
from echostream.training.adaptation.windows import WindowMaker
from echostream.training.fairseq_plugin.adaptation import (
    AdaptationConfig,
    AdaptationTask,
    StudentModel,
)
from echostream.training.fairseq_plugin.criterion import ctc_loss
from echostream.training.fairseq_plugin.window_task import (
    DistillationCriterion,
    Sample,
    WindowDataset,
    error_of,
)
from echostream.training.features import seed_of

_FEW_TOKENS = 20
"""So many count for half, so that a window of a word does not weigh as much as one of a hundred."""

_MOST_TRIES = 100
"""Windows that are made in place of one of which no text is known to its end."""


@dataclass
class DecoderAdaptationConfig(AdaptationConfig):
    """What ``fairseq-train`` can be told about the task."""

    start_from: str = field(default="", metadata={"help": "run of either stage, or a checkpoint"})


@register_task("echostream_decoder_adaptation", dataclass=DecoderAdaptationConfig)
class DecoderAdaptationTask(AdaptationTask):
    """Windows of recordings with texts, two teachers, and held-out measures."""

    valid_chunks = (32,)

    def __init__(self, cfg: DecoderAdaptationConfig) -> None:
        super().__init__(cfg)
        checkpoint = Path(cfg.checkpoint)
        texts = read_texts([Path(folder) for folder in cfg.data.split(":")])
        self._groups = {
            "train": grouped(self.recordings.train, texts),
            "valid": grouped(self.recordings.held_out, texts),
        }
        heard = {path for part in self._groups.values() for group in part for path in group}
        known = {path: own for path, own in texts.items() if path in heard}
        tokenizer = ByteLevelTokenizer.from_file(tokens_path(checkpoint))
        self._dictator = Dictator(tokenizer, known)
        self._speller = make_speller(
            cfg.student, self.folder, cfg.start_from or cfg.grown_from, known
        )
        self._held_out_texts = HeldOutTexts(tokenizer)
        self._decoder_teacher = DecoderTeacher(
            base_decoder(checkpoint),
            1000 // self.teacher.frames_per_second,
            bfloat16=cfg.bfloat16,
        )

    def make_dataset(self, split: str, training: bool, windows: int) -> WindowDataset:
        """``train`` or ``valid``."""
        seed = self.cfg.window_seed if training else 0
        maker = WindowMaker(self._groups[split], seed, with_texts=True)
        return WindowDataset(self.teacher.frames, windows, training, partial(self._sample, maker))

    def _sample(self, maker: WindowMaker, number: int) -> Sample:
        """A window whose texts are known, with the answers of both teachers; its length differs
        from that of others."""
        window = maker.window(number)
        teacher = self.teacher
        frames = round(window.end / SAMPLE_RATE * teacher.frames_per_second)
        heard = max(1, min(teacher.frames, frames))
        chance = random.Random(seed_of(1, "lesson", number))
        for _ in range(_MOST_TRIES):
            dictation = self._dictator(window, heard / teacher.frames_per_second, chance)
            if dictation.tokens:
                break
            # Somebody speaks longer than the stream: another window.
            number += 1 << 20
            window = maker.window(number)
        else:
            raise DataError(
                f"in {_MOST_TRIES} windows nobody comes to an end, the last is of "
                f"{window.spoken[0].path}; expected recordings shorter than a window of 25 s"
            )
        example = teacher(window.samples, whole=True)
        target = torch.from_numpy(example.target)
        return {
            "features": torch.from_numpy(example.features[: 2 * heard]),
            "target": target[:heard],
            "lesson": self._decoder_teacher(dictation, target, heard, chance),
            "spelling": self._speller(window, heard, teacher.frames_per_second),
        }

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """As for the measures."""
        super().begin_valid_epoch(epoch, model)
        self._held_out_texts.clear()

    def valid_step(
        self, sample: Sample, model: Any, criterion: Any
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """What the system writes, beside the measures."""
        found = super().valid_step(sample, model, criterion)
        (chunk,) = self.valid_chunks
        with torch.no_grad():
            (y,) = model(**sample["net_input"], chunking={"chunk_size": chunk})["encoder_out"]
        heard = sample["target"].shape[1]
        self._held_out_texts.add(model.decoder, y[:heard], sample["lesson"])
        return found

    def held_out(self) -> dict[str, float]:
        """With WER and BLEU of the texts."""
        (chunk,) = self.valid_chunks
        scores = self._held_out_texts.scores()
        return super().held_out() | {f"{name}_{chunk}": own for name, own in scores.items()}


@register_model("echostream_student_system", dataclass=FairseqDataclass)
class SystemStudent(StudentModel):
    """An encoder that was adapted, and the decoder, as released if it was not."""

    with_heads = True

    def __init__(self, cfg: DecoderAdaptationConfig) -> None:
        super().__init__(cfg)
        self._goes_on = bool(cfg.start_from)
        self.decoder = base_decoder(Path(cfg.checkpoint))
        make_low_rank(self.decoder)
        if cfg.start_from:
            go_on_from(cfg.start_from, self.encoder, self.decoder)

    def begin(self, held_out: Sequence[Sample]) -> None:
        """As in the first stage; a student keeps the statistics that it began with."""
        if self._goes_on:
            self.spread.copy_(spread_of([sample["target"] for sample in held_out]))
            self.encoder.rescale(self.spread)
        else:
            super().begin(held_out)

    def answers(self, frames: Tensor, lesson: Lesson) -> Tensor:
        """The decoder's logits ``[n, V]`` about frames ``[1, T, C]``."""
        tokens, views = (padded(x, TOKENS) for x in (lesson.tokens[:-1], lesson.views))
        # No token looks ahead, so those behind change nothing.
        logits: Tensor = self.decoder(tokens[None], frames, views.clamp_min(1)[None])
        return logits[0, lesson.prompt - 1 : len(lesson.views)]


@dataclass
class DecoderDistillationConfig(FairseqDataclass):  # type: ignore[misc]
    """Weights of the parts of the loss."""

    error_weight: float = field(default=1.0, metadata={"help": "of the encoder's error"})
    divergence_weight: float = field(default=0.5, metadata={"help": "from the teacher's answers"})
    text_weight: float = field(default=0.5, metadata={"help": "of the texts' cross-entropy"})
    ctc_weight: float = field(default=0.6, metadata={"help": "of each CTC head, nats per unit"})


@register_criterion("echostream_decoder_distillation", dataclass=DecoderDistillationConfig)
class DecoderDistillationCriterion(DistillationCriterion):
    """See the module."""

    measures = ("loss", "error", "divergence", "cross_entropy", "accuracy", "asr_ctc", "st_ctc")

    def __init__(self, cfg: DecoderDistillationConfig, task: DecoderAdaptationTask) -> None:
        super().__init__(task)
        self._weights = {
            "error": cfg.error_weight,
            "divergence": cfg.divergence_weight,
            "cross_entropy": cfg.text_weight,
            "asr_ctc": cfg.ctc_weight,
            "st_ctc": cfg.ctc_weight,
        }
        self._decodes = cfg.divergence_weight + cfg.text_weight > 0

    def forward(
        self, model: Any, sample: Sample, reduce: bool = True
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """The weighted sum, 1, and what is logged."""
        lesson: Lesson = sample["lesson"]
        made = model(**sample["net_input"], chunking=sample["chunking"])
        y = made["encoder_out"]
        values = {"error": error_of(y, sample["target"], model.spread)}
        log = {}
        if self._decodes:
            log_probs = model.answers(y, lesson).log_softmax(dim=-1)
            theirs = lesson.log_probs.float()
            asked = lesson.tokens[lesson.prompt :]
            values["divergence"] = (theirs.exp() * (theirs - log_probs)).sum(dim=-1).mean()
            values["cross_entropy"] = torch.nn.functional.nll_loss(log_probs, asked)
            log["accuracy"] = (log_probs.argmax(dim=-1) == asked).float().mean()
        spelling: Spelling = sample["spelling"]
        for head, units in spelling.units.items():
            frames = torch.tensor([min(spelling.frames, made[head].shape[1])])
            count = torch.tensor([len(units)])
            values[f"{head}_ctc"] = ctc_loss(made[head], frames, units, count) / len(units)
        # A window of one word does not weigh as much as one of a hundred.
        few = len(lesson.tokens) - lesson.prompt
        trust = few / (few + _FEW_TOKENS)
        loss = torch.zeros(())
        for name, value in values.items():
            loss = loss + self._weights[name] * (1.0 if name == "error" else trust) * value
        log |= {name: value.detach() for name, value in values.items()}
        counts = {"ntokens": sample["ntokens"], "nsentences": 1, "sample_size": 1}
        return loss, 1, {"loss": loss.detach(), **log, **counts}
