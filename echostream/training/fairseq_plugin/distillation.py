"""``--task echostream_distillation``: another encoder learns from stored windows of a teacher.

Without ``from __future__ import annotations``: fairseq reads the types of the fields.
"""

from pathlib import Path

from fairseq.tasks import register_task

from echostream.training.adaptation.targets import read_target, stored_targets
from echostream.training.fairseq_plugin.window_task import (
    WindowDataset,
    WindowTask,
    WindowTaskConfig,
    sample_of,
)


@register_task("echostream_distillation", dataclass=WindowTaskConfig)
class DistillationTask(WindowTask):
    """Stored windows, and a student with random weights."""

    def make_dataset(self, split: str, training: bool, windows: int) -> WindowDataset:
        """``train`` or ``valid``, all windows that there are, in each epoch."""
        paths = stored_targets(Path(self.cfg.data), split)
        return WindowDataset(
            len(read_target(paths[0]).target),
            len(paths),
            training,
            lambda number: sample_of(read_target(paths[number % len(paths)])),
        )
