"""What is said in a window, as the tokens that the text decoder should give.

Symbols: ``n`` tokens.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.text.vocabulary import WhisperVocabulary
from echostream.decoder.text.window import ends_sentence
from echostream.errors import DataError
from echostream.text import sentence_case
from echostream.training.adaptation.windows import Window
from echostream.training.corpus.manifest import MANIFEST, read_manifest

_TRANSLATE_CHANCE = 0.6
"""That a window which can be translated is."""
_HISTORY_CHANCE = 0.25
"""That the decoder is told what was said before, as after a cut of a long recording."""
_HISTORY_TOKENS = 30


@dataclass(frozen=True)
class Texts:
    """A recording in words."""

    language: str
    transcript: str
    translation: str
    """Into English; empty if there is none."""


@dataclass(frozen=True)
class TargetToken:
    """A token to be given, and the stretch of audio that it is about."""

    id: int
    begin: float
    """Seconds of the window."""
    end: float


@dataclass(frozen=True)
class Dictation:
    """What a decoder is asked and what it should say."""

    prompt: tuple[int, ...]
    tokens: tuple[TargetToken, ...]
    """With the end of the text, unless somebody is still speaking."""
    is_translation: bool


def read_texts(folders: Sequence[Path]) -> dict[Path, Texts]:
    """The texts of all recordings in the manifests of some folders; other folders have none.

    Raises:
        DataError: if there are none at all.
    """
    found = {}
    for folder in folders:
        if not (folder / MANIFEST).exists():
            continue
        for row in read_manifest(folder / MANIFEST):
            translation = row.tgt_text if row.tgt_lang == "en" else ""
            found[folder / row.audio] = Texts(
                row.src_lang, sentence_case(row.src_text), sentence_case(translation)
            )
    if not found:
        raise DataError(
            f"none of {', '.join(map(str, folders))} has a {MANIFEST} with texts; expected folders "
            "that `echostream data` makes"
        )
    return found


def grouped(recordings: Sequence[Sequence[Path]], texts: dict[Path, Texts]) -> list[list[Path]]:
    """Recordings that have texts, by folder and language.

    Raises:
        DataError: if none has.
    """
    groups: dict[tuple[int, str], list[Path]] = {}
    for number, folder in enumerate(recordings):
        for path in folder:
            if path in texts:
                groups.setdefault((number, texts[path].language), []).append(path)
    if not groups:
        raise DataError(
            f"none of {sum(map(len, recordings))} recordings has texts; expected some, of those "
            "that are held out too: more folders with a manifest, or larger ones"
        )
    return list(groups.values())


def spoken_whole(
    window: Window, texts: Mapping[Path, Texts], seconds: float
) -> tuple[list[Texts], float]:
    """The texts of what is spoken to its end in the first ``seconds`` of a window, and the second
    up to which nothing else is spoken."""
    said: list[Texts] = []
    for each in window.spoken:
        if not each.is_whole or each.end / SAMPLE_RATE > seconds:
            return said, min(seconds, each.begin / SAMPLE_RATE)
        said.append(texts[each.path])
    return said, seconds


class Dictator:
    """Turns windows into dictations.

    Args:
        tokenizer: of the decoder.
        texts: of all recordings that windows are made of.
    """

    def __init__(self, tokenizer: ByteLevelTokenizer, texts: dict[Path, Texts]) -> None:
        self._tokenizer, self._texts = tokenizer, texts
        self._paths: dict[str, list[Path]] = {}
        for path, own in texts.items():
            self._paths.setdefault(own.language, []).append(path)

    def __call__(self, window: Window, seconds: float, chance: random.Random) -> Dictation:
        """The dictation of what is spoken in the first ``seconds`` of a window."""
        texts = [self._texts[each.path] for each in window.spoken]
        language = texts[0].language
        translated = all(own.translation for own in texts) and chance.random() < _TRANSLATE_CHANCE
        vocabulary = WhisperVocabulary(
            self._tokenizer, language, "s2tt" if translated else "asr", "word"
        )
        history: list[int] = []
        if chance.random() < _HISTORY_CHANCE:
            before = self._texts[chance.choice(self._paths[language])]
            if said := before.translation if translated else before.transcript:
                history = self._encoded(said)[-_HISTORY_TOKENS:]
        whole, until = spoken_whole(window, self._texts, seconds)
        tokens = [
            TargetToken(id, each.begin / SAMPLE_RATE, each.end / SAMPLE_RATE)
            for each, own in zip(window.spoken, whole, strict=False)
            for id in self._encoded(own.translation if translated else own.transcript)
        ]
        if until >= seconds:
            tokens.append(TargetToken(vocabulary.end, seconds, seconds))
        return Dictation(vocabulary.prompt(history), tuple(tokens), translated)

    def _encoded(self, text: str) -> list[int]:
        text = " ".join(text.split())
        return self._tokenizer.encode(f" {text}" if ends_sentence(text) else f" {text}.")
