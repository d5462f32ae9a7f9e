"""Windows with the teacher's output, made once: what any number of students learn from.

    train/000000.safetensors   features [2 T, F] and target [T, C] of a window, float16
    valid/000000.safetensors   the same of recordings that are held out

A window of 25.6 s takes 1.7 MB.

Symbols: ``T`` encoder frames, ``F`` mel bins, ``C`` channels.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from echostream.errors import DataError
from echostream.scale import run_all
from echostream.training.adaptation.encoder import base_encoder
from echostream.training.adaptation.teacher import Example, Teacher
from echostream.training.adaptation.windows import Recordings, WindowMaker
from echostream.training.corpus.conversion import disk_errors, progress
from echostream.whole_file import write_whole

PARTS = ("train", "valid")

Item = tuple[str, int]
"""A part, and the number of a window in it."""


def write_targets(
    checkpoint: Path,
    recordings: Recordings,
    output: Path,
    *,
    windows: int,
    held_out: int,
    seed: int,
    jobs: int = 1,
    ray: str | None = None,
) -> int:
    """Write what is not there yet; how many windows were made.

    Args:
        checkpoint: Whisper's folder.
        recordings: that windows are made of.
        output: folder with :data:`PARTS`.
        windows: of the first part; more may be asked for than before, what is there is kept.
        held_out: windows of the other part.
        seed: of the windows; the same seed gives the same ones.
        jobs: processes on this machine.
        ray: a cluster instead (:func:`echostream.scale.run_all`).

    Raises:
        DataError: if the folder cannot be written.
    """
    counts = zip(PARTS, (windows, held_out), strict=True)
    items = [(part, number) for part, count in counts for number in range(count)]
    missing = [item for item in items if not _path(output, item).is_file()]
    job = _Making(checkpoint, recordings, output, seed)
    with disk_errors(output):
        for part in PARTS:
            (output / part).mkdir(parents=True, exist_ok=True)
        # The held-out windows first, so that training can begin before all is made.
        missing.sort(key=lambda item: item[0] == PARTS[0])
        with closing(run_all(job, missing, jobs=jobs, ray=ray)) as done:
            for _ in progress(done, len(missing), "targets", "window"):
                pass
    return len(missing)


def stored_targets(folder: Path, part: str) -> list[Path]:
    """The files of a part, in order.

    Raises:
        DataError: if there are none.
    """
    paths = sorted((folder / part).glob("*.safetensors"))
    if not paths:
        raise DataError(
            f"{folder / part} has no windows; expected a folder that `echostream corpus targets` "
            "made"
        )
    return paths


def read_target(path: Path) -> Example:
    """A window that was stored.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        arrays = safetensors.numpy.load_file(path)
        return Example(*(arrays[name].astype(np.float32) for name in ("features", "target")))
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise DataError(
            f"cannot read {path}: {error}; remove it and run `echostream corpus targets` again"
        ) from error


def _path(output: Path, item: Item) -> Path:
    part, number = item
    return output / part / f"{number:06}.safetensors"


@dataclass(frozen=True)
class _Making:
    """Makes a window and writes it."""

    checkpoint: Path
    recordings: Recordings
    output: Path
    seed: int

    def start(self) -> Callable[[Item], None]:
        encoder = base_encoder(self.checkpoint)
        teacher = Teacher(encoder, encoder.config.window_stride + encoder.config.window_overlap)
        groups: dict[str, Sequence[Sequence[Path]]] = {
            "train": self.recordings.train,
            "valid": self.recordings.held_out,
        }
        makers = {
            part: WindowMaker(groups[part], self.seed if part == "train" else 0) for part in PARTS
        }

        def work(item: Item) -> None:
            part, number = item
            example = teacher(makers[part](number))
            arrays = {"features": example.features, "target": example.target}
            halved = {name: array.astype(np.float16) for name, array in arrays.items()}
            write_whole(_path(self.output, item), safetensors.numpy.save(halved))

        return work
