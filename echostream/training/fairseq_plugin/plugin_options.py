"""What ``fairseq-train`` can be told about task, model, losses and optimizer.

Without ``from __future__ import annotations``: fairseq reads the types of the fields, and cannot
read them as text.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, MISSING

from echostream.training.features import AUGMENTATIONS


def _option(default: object, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class SpeechTaskConfig(FairseqDataclass):  # type: ignore[misc]
    """What ``fairseq-train`` can be told about the task."""

    data: str = _option(MISSING, "folder with manifest.tsv")
    system: str = _option("configs/tiny.yaml", "configuration of the system to train")
    work_dir: str = _option("", "folder for vocabularies, CMVN and history (--save-dir)")
    start_from: str = _option("", "checkpoint folder whose weights a new run starts from")
    solo_epochs: int = _option(
        12, "epochs of the first stage: single utterances, large chunks, no masks"
    )
    solo_seconds: float = _option(3.0, "length (s) of the longest utterance in the first stage")
    augment: str = _option("full", f"change of the samples: {', '.join(AUGMENTATIONS)}")
    corpora: str = _option("", "train and validate on these corpora only: asterisk,tuxpaint")
    repeat: str = _option("", "corpora that come several times in an epoch, e.g. asterisk=3")
    average_decay: float = _option(0.998, "decay of the running average of the weights")
    history_interval: int = _option(50, "updates from one line of history.jsonl to the next")
    save_dir: str = II("checkpoint.save_dir")
    seed: int = II("common.seed")
    max_tokens: Optional[int] = II("dataset.max_tokens")  # noqa: UP045


@dataclass
class SpeechModelConfig(FairseqDataclass):  # type: ignore[misc]
    """Multi-chunk training. The network is described by the file of ``--system``."""

    chunk_sizes: str = _option("", "encoder frames or 'whole' to draw from, e.g. 16,32,whole")


@dataclass
class MultitaskConfig(FairseqDataclass):  # type: ignore[misc]
    """Weights of the losses; a task of weight 0 is not computed.

    Reordered text keeps the model from finding the alignment, so the first stage has a factor.
    """

    asr_ctc_weight: float = _option(1.0, "weight of ASR CTC")
    st_ctc_weight: float = _option(1.0, "weight of ST CTC")
    first_stage_st_ctc_weight: float = _option(0.1, "factor of ST CTC in the first --solo-epochs")


@dataclass
class AdamWConfig(FairseqDataclass):  # type: ignore[misc]
    """Defaults are those that ``tiny`` was tuned with."""

    beta1: float = _option(0.9, "decay of the mean gradient")
    beta2: float = _option(0.98, "decay of the mean squared gradient")
    adam_eps: float = _option(1e-8, "epsilon of Adam")
    weight_decay: float = _option(0.02, "decay of matrices; biases, scales and norms have none")
    lr: list[float] = II("optimization.lr")
    amp: bool = II("common.amp")
