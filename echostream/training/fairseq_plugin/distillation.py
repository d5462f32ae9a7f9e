"""``--task echostream_distillation``: another encoder learns from stored windows of a teacher.

Without ``from __future__ import annotations``: fairseq reads the types of the fields.
"""

from pathlib import Path

from fairseq.tasks import register_task

from echostream.training.adaptation.targets import read_target, stored_targets
from echostream.training.fairseq_plugin.window_task import (
    NumberedDataset,
    Sample,
    WindowTask,
    WindowTaskConfig,
    sample_of,
)


class StoredDataset(NumberedDataset):
    """Windows of a folder that ``echostream corpus targets`` made; the same in each epoch."""

    def __init__(self, paths: list[Path], training: bool) -> None:
        super().__init__(len(read_target(paths[0]).target), len(paths), training)
        self._paths = paths

    def make(self, number: int) -> Sample:
        """The sample of the window of that number."""
        return sample_of(read_target(self._paths[number % len(self._paths)]))


@register_task("echostream_distillation", dataclass=WindowTaskConfig)
class DistillationTask(WindowTask):
    """Stored windows, and a student with random weights."""

    def make_dataset(self, split: str, training: bool, windows: int) -> StoredDataset:
        """``train`` or ``valid``, all windows that there are."""
        return StoredDataset(stored_targets(Path(self.cfg.data), split), training)
