"""What there is to learn from: recordings with their texts, whatever table they are listed in.

A folder holds ``manifest.tsv``, which `echostream data` and `echostream corpus` write, or fairseq's
or StreamSpeech's tables (`speech_tables`).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.text import normalise
from echostream.training.corpus.clip import Clip
from echostream.training.corpus.manifest import MANIFEST, ManifestRow, read_manifest
from echostream.training.corpus.speech_tables import find_tables, place_of, read_speech_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Utterance:
    """One recording: where it is, how long it is at 16 kHz, and its texts, normalised.

    ``slice`` is the offset and the number of bytes where ``audio`` is an archive of many.
    """

    id: str
    corpus: str
    split: str
    audio: Path
    num_samples: int
    source_text: str
    target_text: str
    slice: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """What is its own among all utterances: ids repeat between corpora."""
        return f"{self.corpus}/{self.id}"

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.num_samples / SAMPLE_RATE


def read_corpus(folder: Path, corpora: Sequence[str] = ()) -> list[Utterance]:
    """The utterances of the tables in ``folder``, of all corpora if none is named.

    Those to train on that lack a text are left out, with a warning that counts them.

    Raises:
        ConfigError: for a corpus of which there is no utterance.
        DataError: if there is no table, or it cannot be read.
    """
    tables = {} if (folder / MANIFEST).exists() else find_tables(folder)
    if tables:
        utterances = [
            _utterance(clip, num_samples, clip.path, clip.piece)
            for split, path in tables.items()
            for clip, num_samples in read_speech_table(path, split)
        ]
    else:
        utterances = [utterance_of(row, folder) for row in read_manifest(folder / MANIFEST)]
    _check_known(corpora, utterances, "--corpora")
    chosen = [u for u in utterances if not corpora or u.corpus in corpora]
    kept = [u for u in chosen if (u.source_text and u.target_text) or u.split != "train"]
    if len(kept) < len(chosen):
        logger.warning("%s: %d recordings without a text left out", folder, len(chosen) - len(kept))
    return kept


def utterance_of(row: ManifestRow, folder: Path) -> Utterance:
    """The recording of a row of ``folder``'s manifest."""
    return _utterance(row, row.num_samples, *place_of([folder], row.audio))


def _utterance(
    given: ManifestRow | Clip, num_samples: int, audio: Path, piece: tuple[int, int] | None
) -> Utterance:
    texts = normalise(given.src_text), normalise(given.tgt_text)
    return Utterance(given.id, given.corpus, given.split, audio, num_samples, *texts, slice=piece)


def parse_names(text: str) -> tuple[str, ...]:
    """``"asterisk,tuxpaint"`` to the names, each once; empty text to none."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _check_known(names: Iterable[str], utterances: Sequence[Utterance], option: str) -> None:
    known = {utterance.corpus for utterance in utterances}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{option} names the corpus {name!r}; expected one of {', '.join(sorted(known))}"
            )


def select(utterances: Sequence[Utterance], split: str) -> list[Utterance]:
    """Those of one part. Raises `DataError` if it is ``train`` and there is none."""
    selected = [utterance for utterance in utterances if utterance.split == split]
    if split == "train" and not selected:
        raise DataError("the corpus has no row of the training part with both texts")
    return selected


def parse_repeat(text: str) -> dict[str, int]:
    """``"asterisk=3,tuxpaint=2"`` to how often the recordings of a corpus come in an epoch.

    Raises `ConfigError` if it has another form.
    """
    counts: dict[str, int] = {}
    for part in parse_names(text):
        corpus, _, count = part.partition("=")
        if not count.isdecimal() or int(count) < 1 or not corpus:
            raise ConfigError(
                f"--repeat has {part!r}; expected CORPUS=TIMES with TIMES from 1 on, several "
                "joined by commas, such as asterisk=3,tuxpaint=2"
            )
        counts[corpus] = int(count)
    return counts


def repeated(utterances: Sequence[Utterance], counts: Mapping[str, int]) -> list[Utterance]:
    """Each utterance as often as its corpus says; every copy is augmented in its own way.

    Raises `ConfigError` for a corpus of which there is no utterance.
    """
    _check_known(counts, utterances, "--repeat")
    return [
        utterance if copy == 0 else replace(utterance, id=f"{utterance.id}#{copy}")
        for utterance in utterances
        for copy in range(counts.get(utterance.corpus, 1))
    ]
