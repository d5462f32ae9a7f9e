"""What is said in a window, as the units that a student's CTC heads should give.

Symbols: ``n`` units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echostream.config import load_config
from echostream.decoder.tokenizer import Tokenizer
from echostream.model.checkpoint import VOCABULARIES
from echostream.text import normalise, without_marks
from echostream.training.adaptation.texts import Texts, spoken_whole
from echostream.training.adaptation.windows import Window
from echostream.training.preparation import vocabulary
from echostream.whole_file import write_whole


@dataclass(frozen=True, eq=False)
class Spelling:
    """Units of what is said to its end in the first frames of a window."""

    frames: int
    units: Mapping[str, Tensor]
    """``[n]`` by head, at least one; without heads whose text is not known."""


class Speller:
    """Turns windows into units.

    Args:
        vocabularies: by head.
        texts: of all recordings that windows are made of.
    """

    def __init__(self, vocabularies: Mapping[str, Tokenizer], texts: Mapping[Path, Texts]) -> None:
        self._vocabularies, self._texts = vocabularies, texts

    def __call__(self, window: Window, heard: int, frames_per_second: int) -> Spelling:
        """The units of the first ``heard`` frames of a window."""
        said, seconds = spoken_whole(window, self._texts, heard / frames_per_second)
        units = {}
        for head, tokenizer in self._vocabularies.items():
            parts = [_text(head, own) for own in said]
            if parts and all(parts):
                units[head] = torch.tensor(tokenizer.encode(" ".join(parts)))
        return Spelling(round(seconds * frames_per_second), units)


def make_speller(system: str, run: Path, start_from: str, texts: Mapping[Path, Texts]) -> Speller:
    """The speller of the heads of a student; of one without heads it writes nothing.

    Args:
        system: the student's configuration, or empty.
        run: folder whose vocabularies are used, and made where it has none: those of the run or
            checkpoint that this one starts from, if they have as many units, or of the texts.
        start_from: that run or checkpoint, or empty.
        texts: of all recordings.

    Raises:
        DataError: if the texts are too few for vocabularies of that size.
    """
    if not system:
        return Speller({}, texts)
    config = load_config(system)
    sizes = {"asr": config.asr_vocab_size, "st": config.st_vocab_size}
    vocabularies = {}
    for head, size in sizes.items():
        if not size:
            continue
        path, before = run / VOCABULARIES[head], Path(start_from) / VOCABULARIES[head]
        is_known = bool(start_from) and before.is_file() and not path.exists()
        if is_known and Tokenizer.from_file(before).vocab_size == size:
            write_whole(path, before.read_bytes())
        known = (text for own in texts.values() if (text := _text(head, own)))
        vocabularies[head] = vocabulary(path, known, size)
    return Speller(vocabularies, texts)


def _text(head: str, texts: Texts) -> str:
    # Half of the corpora have no accents, which nobody hears.
    return without_marks(normalise(texts.transcript if head == "asr" else texts.translation))
