"""What there is to learn from: recordings with their texts, whatever table they are listed in.

A folder holds one of

    manifest.tsv                what `echostream data` writes
    train.tsv, dev.tsv, ...     StreamSpeech's or fairseq's speech-to-text tables

and the tables' recordings are audio files or pieces of a zip archive
(``archive.zip:offset:length``) that hold audio, or feature frames as ``.npy``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from echostream.constants import FRAME_SHIFT_SAMPLES, SAMPLE_RATE
from echostream.errors import ConfigError, DataError
from echostream.text import normalise
from echostream.training.formats.fairseq_s2t import S2TRow, read_s2t
from echostream.training.formats.streamspeech import COLUMNS as STREAMSPEECH_COLUMNS
from echostream.training.formats.streamspeech import read_streamspeech
from echostream.training.recipes.manifest import ManifestRow, read_manifest
from echostream.training.recipes.split import SPLITS

MANIFEST = "manifest.tsv"
_SLICE = re.compile(r"^(?P<path>.+):(?P<offset>\d+):(?P<length>\d+)$")


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
    """The utterances of the tables in ``folder`` that have both texts.

    Args:
        folder: with the tables.
        corpora: only of these; of all if none is named.

    Raises:
        ConfigError: for a corpus of which there is no utterance.
        DataError: if there is no table, or it cannot be read.
    """
    if (folder / MANIFEST).exists() or not (folder / "train.tsv").exists():
        utterances = _of_manifest(folder)
    else:
        tables = [split for split in SPLITS if (folder / f"{split}.tsv").exists()]
        utterances = [u for split in tables for u in _of_table(folder, split)]
    known = {utterance.corpus for utterance in utterances}
    for corpus in corpora:
        _check_known(corpus, known, "--corpora")
    chosen = set(corpora or known)
    return [u for u in utterances if u.source_text and u.target_text and u.corpus in chosen]


def utterance_of(row: ManifestRow, folder: Path) -> Utterance:
    """The recording of a row of ``folder``'s manifest."""
    audio, piece = _place(folder, row.audio)
    return Utterance(
        id=row.id,
        corpus=row.corpus,
        split=row.split,
        audio=audio,
        num_samples=row.num_samples,
        source_text=normalise(row.src_text),
        target_text=normalise(row.tgt_text),
        slice=piece,
    )


def parse_corpora(text: str) -> tuple[str, ...]:
    """``"asterisk,tuxpaint"`` to the names; empty text to none."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _check_known(corpus: str, known: Collection[str], option: str) -> None:
    if corpus not in known:
        raise ConfigError(
            f"{option} names the corpus {corpus!r}; expected one of {', '.join(sorted(known))}"
        )


def select(utterances: Sequence[Utterance], split: str) -> list[Utterance]:
    """Those of one part.

    Raises:
        DataError: if it is ``train`` and there is none.
    """
    selected = [utterance for utterance in utterances if utterance.split == split]
    if split == "train" and not selected:
        raise DataError("the corpus has no row of the training part with both texts")
    return selected


def parse_repeat(text: str) -> dict[str, int]:
    """``"asterisk=3,tuxpaint=2"`` to how often the recordings of a corpus come in an epoch.

    Raises:
        ConfigError: if it has another form.
    """
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
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

    Raises:
        ConfigError: for a corpus of which there is no utterance.
    """
    known = {utterance.corpus for utterance in utterances}
    for corpus in counts:
        _check_known(corpus, known, "--repeat")
    return [
        utterance if copy == 0 else replace(utterance, id=f"{utterance.id}#{copy}")
        for utterance in utterances
        for copy in range(counts.get(utterance.corpus, 1))
    ]


def _of_manifest(folder: Path) -> list[Utterance]:
    return [utterance_of(row, folder) for row in read_manifest(folder / MANIFEST)]


def _of_table(folder: Path, split: str) -> list[Utterance]:
    path = folder / f"{split}.tsv"
    header = path.open(encoding="utf-8").readline().rstrip("\r\n").split("\t")
    if set(STREAMSPEECH_COLUMNS) <= set(header):
        rows = [
            S2TRow(row.id, row.src_audio, row.src_n_frames, row.tgt_text, row.src_text)
            for row in read_streamspeech(path)
        ]
    else:
        rows = read_s2t(path)
    if not rows:
        return []
    step = _samples_per_count(folder, rows[0])
    utterances = []
    for row in rows:
        audio, piece = _place(folder, row.audio)
        utterances.append(
            Utterance(
                id=row.id,
                corpus=folder.name,
                split=split,
                audio=audio,
                num_samples=row.n_frames * step,
                source_text=normalise(row.src_text),
                target_text=normalise(row.tgt_text),
                slice=piece,
            )
        )
    return utterances


def _place(folder: Path, text: str) -> tuple[Path, tuple[int, int] | None]:
    """The file that a table names, and which bytes of it."""
    found = _SLICE.match(text)
    if found is None:
        return folder / text, None
    return folder / found["path"], (int(found["offset"]), int(found["length"]))


def _samples_per_count(folder: Path, row: S2TRow) -> int:
    """Whether a table counts samples (1) or feature frames: its first recording tells."""
    audio, piece = _place(folder, row.audio)
    if piece is None and audio.suffix != ".npy" and audio.exists():
        info = soundfile.info(str(audio))
        # Twice the frames there can be is far below the samples there are.
        if row.n_frames > 2 * info.duration * SAMPLE_RATE / FRAME_SHIFT_SAMPLES:
            return 1
    return FRAME_SHIFT_SAMPLES
