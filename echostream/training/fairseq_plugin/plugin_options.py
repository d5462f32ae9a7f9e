"""What ``fairseq-train`` can be told about task, model, losses and optimizer.

Without ``from __future__ import annotations``: fairseq reads the types of the fields, and cannot
read them as text.
"""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II, MISSING

from echostream.training.features import AUGMENTATIONS


@dataclass
class SpeechTaskConfig(FairseqDataclass):  # type: ignore[misc]
    """What ``fairseq-train`` can be told about the task."""

    data: str = field(default=MISSING, metadata={"help": "folder with manifest.tsv"})
    system: str = field(
        default="configs/tiny.yaml", metadata={"help": "configuration of the system to train"}
    )
    work_dir: str = field(
        default="", metadata={"help": "folder for vocabularies, CMVN and history (--save-dir)"}
    )
    start_from: str = field(
        default="", metadata={"help": "checkpoint folder whose weights a new run starts from"}
    )
    solo_epochs: int = field(
        default=12,
        metadata={"help": "epochs of the first stage: single utterances, large chunks, no masks"},
    )
    solo_seconds: float = field(
        default=3.0,
        metadata={
            "help": "in the first stage only utterances of at most this length (s) take part"
        },
    )
    joined: str = field(
        default="1,1,2,3,4",
        metadata={"help": "numbers of utterances in an example to draw from, after that"},
    )
    augment: str = field(
        default="full", metadata={"help": f"change of the samples: {', '.join(AUGMENTATIONS)}"}
    )
    corpora: str = field(
        default="",
        metadata={"help": "train and validate on these corpora only, e.g. asterisk,tuxpaint"},
    )
    repeat: str = field(
        default="",
        metadata={"help": "corpora that come several times in an epoch, e.g. asterisk=3"},
    )
    average_decay: float = field(
        default=0.998, metadata={"help": "decay of the running average of the weights"}
    )
    history_interval: int = field(
        default=50, metadata={"help": "updates from one line of history.jsonl to the next"}
    )
    save_dir: str = II("checkpoint.save_dir")
    seed: int = II("common.seed")
    max_tokens: Optional[int] = II("dataset.max_tokens")  # noqa: UP045


@dataclass
class SpeechModelConfig(FairseqDataclass):  # type: ignore[misc]
    """Multi-chunk training. The network is described by the file of ``--system``."""

    chunk_sizes: str = field(
        default="",
        metadata={"help": "chunk sizes to draw from, encoder frames or 'whole', e.g. 16,32,whole"},
    )
    left_contexts: str = field(
        default="", metadata={"help": "left contexts to draw from, encoder frames, e.g. 64,128"}
    )
    futures: str = field(
        default="",
        metadata={"help": "look-ahead to draw from, frames or 'whole' (chunk), e.g. whole,0"},
    )


@dataclass
class MultitaskConfig(FairseqDataclass):  # type: ignore[misc]
    """Weights of the losses; a task of weight 0 is not computed."""

    asr_ctc_weight: float = field(default=1.0, metadata={"help": "weight of ASR CTC"})
    st_ctc_weight: float = field(default=1.0, metadata={"help": "weight of ST CTC"})
    mt_weight: float = field(default=0.0, metadata={"help": "weight of the text decoder"})
    unit_weight: float = field(default=0.0, metadata={"help": "weight of the speech units' CTC"})
    first_stage_st_ctc_weight: float = field(
        default=0.1,
        metadata={
            "help": "factor of ST CTC in the first --solo-epochs: reordered text keeps the "
            "model from finding the alignment"
        },
    )


@dataclass
class AdamWConfig(FairseqDataclass):  # type: ignore[misc]
    """Defaults are those that ``tiny`` was tuned with."""

    beta1: float = field(default=0.9, metadata={"help": "decay of the mean gradient"})
    beta2: float = field(default=0.98, metadata={"help": "decay of the mean squared gradient"})
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon of Adam"})
    weight_decay: float = field(
        default=0.02, metadata={"help": "decay of matrices; biases, scales and norms have none"}
    )
    lr: list[float] = II("optimization.lr")
    amp: bool = II("common.amp")
