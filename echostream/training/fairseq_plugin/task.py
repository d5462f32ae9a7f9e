"""``--task echostream_speech``: what is trained on, how a step is made, what a validation finds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from fairseq.distributed import utils as processes
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.tasks import FairseqTask, register_task
from torch import Tensor, distributed

from echostream.config import load_config, to_mapping
from echostream.errors import DataError
from echostream.training.corpus.utterances import parse_names, parse_repeat, repeated, select
from echostream.training.evaluation import Evaluation, best_path
from echostream.training.fairseq_checkpoints import AVERAGE
from echostream.training.fairseq_plugin.criterion import MultitaskCriterion, losses_of, summed
from echostream.training.fairseq_plugin.dataset import FRAMES_PER_SECOND, Sample, SpeechDataset
from echostream.training.fairseq_plugin.plugin_options import SpeechTaskConfig
from echostream.training.fairseq_plugin.running_average import RunningAverage
from echostream.training.features import FeatureReader, augmentation
from echostream.training.preparation import (
    Preparation,
    load_weights,
    make_front_end,
    prepare,
    start_from,
)
from echostream.training.run_record import append_history

logger = logging.getLogger(__name__)

JOINED = (1, 1, 2, 3, 4)  # numbers of utterances in an example, drawn after the first stage


@register_task("echostream_speech", dataclass=SpeechTaskConfig)
class SpeechTask(FairseqTask):  # type: ignore[misc]
    """Speech to transcript and translation.

    The task keeps the running average of the weights, which validation uses and checkpoints hold.
    (fairseq's own, ``--store-ema``, cannot average a network with a batch norm.)
    """

    average: RunningAverage

    def __init__(self, cfg: SpeechTaskConfig, prepared: Preparation, folder: Path) -> None:
        super().__init__(cfg)
        self.prepared = prepared
        self.folder = folder
        self.update = 0
        self._evaluation = Evaluation()
        self._running: list[dict[str, Any]] = []
        # Plain values, so that a checkpoint says what it is without the files of the run.
        self.state.merge_state_dict({"system": to_mapping(prepared.config)})

    @classmethod
    def setup_task(cls, cfg: SpeechTaskConfig, **_: Any) -> SpeechTask:
        """Read the corpus; the first process makes what the run's folder lacks."""
        folder = Path(cfg.work_dir or cfg.save_dir)
        config = load_config(cfg.system)
        if processes.get_global_rank() > 0:
            distributed.barrier()
        if cfg.start_from:
            start_from(Path(cfg.start_from), config, folder)
        prepared = prepare(config, Path(cfg.data), folder, parse_names(cfg.corpora))
        if processes.get_global_world_size() > 1 and processes.get_global_rank() == 0:
            distributed.barrier()
        return cls(cfg, prepared, folder)

    def load_dataset(self, split: str, combine: bool = False, **_: Any) -> None:
        """The utterances of a part: ``train``, ``dev`` or ``test``."""
        utterances = select(self.prepared.utterances, split)
        if not utterances:
            raise DataError(
                f"{self.cfg.data} has no recordings of the part {split!r}; name another with "
                "--valid-subset, or validate nothing with --disable-validation"
            )
        training = split == "train"
        if training:
            utterances = repeated(utterances, parse_repeat(self.cfg.repeat))
        augment = augmentation(self.cfg.augment) if training else None
        prepared, seed = self.prepared, self.cfg.seed
        self.datasets[split] = SpeechDataset(
            utterances,
            prepared,
            FeatureReader(make_front_end(prepared.config), prepared.cmvn, augment, seed),
            seed=seed,
            max_frames=self.cfg.max_tokens,
            joined=JOINED,
            solo_epochs=self.cfg.solo_epochs,
            solo_frames=round(self.cfg.solo_seconds * FRAMES_PER_SECOND),
            training=training,
        )
        minutes = sum(utterance.seconds for utterance in utterances) / 60
        logger.info("%s: %d recordings, %.1f min", split, len(utterances), minutes)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """The network, and with it the average of its weights."""
        model = super().build_model(cfg, from_checkpoint)
        if self.cfg.start_from:
            # Where a run goes on, fairseq's own checkpoint comes after this.
            load_weights(Path(self.cfg.start_from), model.network)
        self.average = RunningAverage(model, self.cfg.average_decay)
        # Later fairseq hands over wrappers of it, one in the other.
        self._network = model
        return model

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """One update of the weights and of their average."""
        super().optimizer_step(optimizer, model, update_num)
        own = getattr(optimizer, "fp32_optimizer", optimizer)
        if not getattr(own, "last_was_skipped", False):
            self.average.update(self._network, update_num + 1)

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What fairseq puts into a checkpoint for the task: the averaged weights."""
        weights = self.average.network.state_dict()
        return {type(self).__name__: {AVERAGE: {k: v.cpu() for k, v in weights.items()}}}

    def set_checkpoint_dict(self, values: dict[str, Any]) -> None:
        """Go on from what :meth:`get_checkpoint_dict` gave."""
        self.average.network.load_state_dict(values[AVERAGE])

    def train_step(
        self,
        sample: Sample,
        model: Any,
        criterion: MultitaskCriterion,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Forward and backward of one batch, with the chunking drawn for it.

        Everything random in it is seeded by the batch, so that it is the same whichever process has
        the batch and wherever the run was resumed.
        """
        model.train()
        model.set_num_updates(update_num)
        self.update = update_num
        torch.manual_seed(sample["seed"])
        chunking = model.draw_chunking(sample["seed"], sample["first_stage"])
        sample = {**sample, "net_input": {**sample["net_input"], "chunking": chunking}}
        with torch.autocast("cuda", enabled=isinstance(optimizer, AMPOptimizer)):
            loss, sample_size, log = criterion(model, sample)
        if ignore_grad:
            loss = loss * 0
        optimizer.backward(loss)
        return loss, sample_size, log

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Forget what the last validation found."""
        self._evaluation = Evaluation()

    def valid_step(
        self, sample: Sample, model: Any, criterion: MultitaskCriterion
    ) -> tuple[Tensor, int, dict[str, Any]]:
        """Losses of one batch; its hypotheses are kept for :meth:`post_validate`."""
        with torch.no_grad():
            output = self.average.network(**sample["net_input"])
            result = criterion.score(output, sample)
        for row, (source, target) in enumerate(sample["texts"]):
            asr, st, encoded = (
                output[name][row, : int(output["lengths"][row])]
                for name in ("asr", "st", "encoder_out")
            )
            heard, said = self.prepared.source.decode, self.prepared.target.decode
            self._evaluation.transcripts.append((source, heard(best_path(asr))))
            self._evaluation.translations.append((target, said(best_path(st))))
            self._evaluation.spread.add(encoded)
        return result

    def post_validate(self, model: Any, stats: dict[str, Any], agg: Any) -> None:
        """Put WER, BLEU and the spread of the encoder's output into what fairseq reports."""
        if processes.get_global_world_size() > 1:
            found: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(found, self._evaluation)
            self._evaluation = found[0]
            for other in found[1:]:
                self._evaluation.merge(other)
        figures = self._evaluation.figures()
        stats.update({name: float(f"{value:.4g}") for name, value in figures.items()})
        if processes.get_global_rank() == 0:
            values = {key: float(getattr(value, "avg", value)) for key, value in stats.items()}
            losses = {key: value for key, value in values.items() if key.endswith("loss")}
            self._evaluation.log_samples()
            update = int(values.get("num_updates", self.update))
            self._write("dev", update, {**losses, **figures})

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion: Any) -> None:
        """As fairseq's, and every so many updates a line of history."""
        super().reduce_metrics(logging_outputs, criterion)
        if not criterion.training or processes.get_global_rank() > 0:
            return
        self._running.append(summed(logging_outputs))
        done = self.update + 1
        if done % self.cfg.history_interval == 0:
            self._write("train", done, losses_of(summed(self._running)))
            self._running = []

    def _write(self, part: str, update: int, values: dict[str, float]) -> None:
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        append_history(self.folder, {"part": part, "update": update, **rounded})
