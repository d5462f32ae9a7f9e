"""The recipes: which corpora belong to which language pair, under which licence.

A corpus differs between pairs in language, voice and number of utterances only.
"""

from __future__ import annotations

from echostream.training.corpus.split import SPLITS
from echostream.training.recipes.asterisk import AsteriskReader
from echostream.training.recipes.drascula import DrasculaReader
from echostream.training.recipes.packages import Corpus
from echostream.training.recipes.recipe import Recipe
from echostream.training.recipes.tuxpaint import TuxpaintReader

ASTERISK_VOICES = {
    "en": ("en_US_f_Allison", "Allison Smith (http://www.theivrvoice.com)"),
    "es": ("es_MX_f_Allison", "Allison Smith (http://www.theivrvoice.com)"),
    "fr": ("fr_CA_f_June", "June Wallack"),
}
"""Folder and copyright holder of the prompts by language."""

TUXPAINT_SPEAKERS = {
    "es": ("estefania_ortiz", "Spanish descriptions read by Estefania Ortiz"),
    "fr": ("paulk", "French descriptions read by PaulK"),
}


def asterisk(source: str, target: str, counts: tuple[int, int, int]) -> Corpus:
    """Telephone prompts spoken in ``source``; ``counts`` are train, dev, test."""
    voice, holder = ASTERISK_VOICES[source]
    reader = AsteriskReader(source, target, voice=voice)
    return Corpus(
        name="asterisk",
        reader=reader,
        licence="CC-BY-SA-3.0",
        attribution=(
            f"Asterisk core sounds. Copyright 2003-2010 {holder}, financed by Digium, Inc."
        ),
        versions=dict.fromkeys(reader.packages, "1.6.1-1"),
        counts=dict(zip(SPLITS, counts, strict=True)),
    )


def tuxpaint(source: str, target: str, counts: tuple[int, int, int]) -> Corpus:
    """Picture captions spoken in ``source``; ``counts`` are train, dev, test."""
    speaker, credit = TUXPAINT_SPEAKERS[source]
    return Corpus(
        name="tuxpaint",
        reader=TuxpaintReader(source, target, speaker=speaker),
        licence="GPL-2.0-or-later",
        attribution=(
            f"Tux Paint stamps. Copyright 2002-2022 Bill Kendrick and contributors; {credit}."
        ),
        versions={"tuxpaint-stamps-default": "2022.06.04-1"},
        counts=dict(zip(SPLITS, counts, strict=True)),
    )


def drascula(source: str, target: str, counts: tuple[int, int, int]) -> Corpus:
    """Game dialogue spoken in ``source`` (English or Spanish); ``counts`` are train, dev, test."""
    reader = DrasculaReader(source, target)
    return Corpus(
        name="drascula",
        reader=reader,
        licence="LicenseRef-Drascula",
        attribution=(
            "Drascula: The Vampire Strikes Back. Copyright 1996-2008 Alcachofa Soft S.L. "
            "This is a modified version of the game's data: speech and subtitles only. It may "
            "be distributed free of charge with this notice and the game's readme; no fee may "
            "be charged for the game itself. The data is provided AS IS, without warranty."
        ),
        versions=dict.fromkeys(reader.packages, "1.0+ds4-2"),
        counts=dict(zip(SPLITS, counts, strict=True)),
    )


ES_EN = Recipe(
    name="es-en",
    source="es",
    target="en",
    corpora=(
        asterisk("es", "en", (386, 15, 48)),
        tuxpaint("es", "en", (648, 39, 65)),
        drascula("es", "en", (621, 45, 72)),
    ),
    unmarked=frozenset({"es"}),
)
"""The default pair."""

FR_EN = Recipe(
    name="fr-en",
    source="fr",
    target="en",
    corpora=(
        asterisk("fr", "en", (425, 19, 59)),
        tuxpaint("fr", "en", (662, 37, 66)),
    ),
)
"""Drascula was not dubbed in French."""

EN_ES = Recipe(
    name="en-es",
    source="en",
    target="es",
    corpora=(
        asterisk("en", "es", (386, 15, 48)),
        drascula("en", "es", (620, 45, 72)),
    ),
    unmarked=frozenset({"es"}),
)
"""Tux Paint has 66 English captions of mostly one word, not worth its 161 MB. Drascula's
Spanish texts are in capitals."""

RECIPES = {recipe.name: recipe for recipe in (ES_EN, FR_EN, EN_ES)}
