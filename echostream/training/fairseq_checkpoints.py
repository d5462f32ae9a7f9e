"""fairseq's checkpoints: found, read without running their code, averaged.

A fairseq checkpoint is a pickle. It is read with ``weights_only=True`` alone, which makes tensors
and plain values and nothing else; what EchoStream loads afterwards is the exported folder.
"""

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.config import SystemConfig, from_mapping
from echostream.errors import CheckpointError
from echostream.model import SpeechModel

FAIRSEQ = "fairseq"  # folder of fairseq's checkpoints in the folder of a run
LAST = "checkpoint_last.pt"
TASK, AVERAGE = "SpeechTask", "average"
"""Where a checkpoint holds the averaged weights."""
_INTERVAL = re.compile(r"checkpoint_\d+_(\d+)\.pt")


@dataclass(frozen=True)
class TrainingState:
    """What there is to know of a checkpoint: where the run was, and its weights.

    ``weights`` are those of the last update, ``average`` their running average, both under the
    names of :class:`SpeechModel`.
    """

    config: SystemConfig
    updates: int
    epoch: int
    seconds: float
    weights: dict[str, Tensor]
    average: dict[str, Tensor]


def last_checkpoints(folder: Path, count: int, update: int | None = None) -> list[Path]:
    """The last ``count`` checkpoints, or as many as there are, oldest first.

    They end with that of ``update``; ``None`` for ``checkpoint_last.pt``. Raises `CheckpointError`
    if there is no checkpoint of that update.
    """
    written = {
        int(match[1]): path
        for path in folder.glob("checkpoint_*_*.pt")
        if (match := _INTERVAL.fullmatch(path.name))
    }
    if update is None:
        last = folder / LAST
        if count == 1:
            return [last]
        update = read_checkpoint(last).updates
    elif update in written:
        last = written[update]
    else:
        known = ", ".join(map(str, sorted(written))) or "none"
        raise CheckpointError(
            f"{folder} has no checkpoint of update {update}; expected one of those that are "
            f"there ({known}), or leave --update out for the last"
        )
    before = [written[n] for n in sorted(written) if n < update]
    return [*before, last][-count:]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What fairseq wrote: tensors and plain values.

    Raises `CheckpointError` if it is missing, damaged, or would run code.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and plain values: "
            f"{str(error).splitlines()[0]}; expected a checkpoint that fairseq wrote here"
        ) from error
    return saved


def read_checkpoint(path: Path) -> TrainingState:
    """A checkpoint of EchoStream's task.

    Raises:
        CheckpointError: if it is missing, damaged, of another task, or would run code.
    """
    saved = load_checkpoint(path)
    try:
        extra = saved["extra_state"]
        return TrainingState(
            config=from_mapping(SystemConfig, saved["task_state"]["system"]),
            updates=int(saved["optimizer_history"][-1]["num_updates"]),
            epoch=int(extra["train_iterator"]["epoch"]),
            seconds=float(extra["previous_training_time"]),
            weights=_network(saved["model"]),
            average=_network(extra[TASK][AVERAGE]),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise CheckpointError(
            f"{path} was not written by the task echostream_speech: {error!r} is missing"
        ) from error


def _network(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("network."): tensor for name, tensor in tensors.items()}


def averaged_model(states: Sequence[TrainingState], *, running: bool = True) -> SpeechModel:
    """The network whose weights are the mean of the checkpoints' (at least one, of one run).

    With ``running`` of each checkpoint's running average, otherwise of its last weights. Whole
    numbers, such as the counts of a batch norm, are taken from the last.
    """
    model = SpeechModel(states[-1].config)
    weights = [state.average if running else state.weights for state in states]
    mean = dict(weights[-1])
    for name, last in mean.items():
        if last.is_floating_point():
            mean[name] = torch.stack([w[name].double() for w in weights]).mean(dim=0).to(last.dtype)
    model.load_state_dict(mean)
    return model.eval()
