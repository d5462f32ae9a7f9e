"""The recipes: which corpora belong to which language pair, under which licence."""

from __future__ import annotations

from echostream.training.recipes.asterisk import AsteriskReader
from echostream.training.recipes.corpus import Corpus
from echostream.training.recipes.drascula import DrasculaReader
from echostream.training.recipes.recipe import Recipe
from echostream.training.recipes.tuxpaint import TuxpaintReader

ES_EN = Recipe(
    name="es-en",
    source="es",
    target="en",
    corpora=(
        Corpus(
            name="asterisk",
            reader=AsteriskReader("es", "en", voice="es_MX_f_Allison"),
            licence="CC-BY-SA-3.0",
            attribution=(
                "Asterisk core sounds. Copyright 2003-2010 Allison Smith "
                "(http://www.theivrvoice.com), financed by Digium, Inc."
            ),
            versions={
                "asterisk-core-sounds-es-g722": "1.6.1-1",
                "asterisk-core-sounds-es": "1.6.1-1",
                "asterisk-core-sounds-en": "1.6.1-1",
            },
            counts={"train": 386, "dev": 15, "test": 48},
        ),
        Corpus(
            name="tuxpaint",
            reader=TuxpaintReader("es", "en", speaker="estefania_ortiz"),
            licence="GPL-2.0-or-later",
            attribution=(
                "Tux Paint stamps. Copyright 2002-2022 Bill Kendrick and contributors; "
                "Spanish descriptions read by Estefania Ortiz."
            ),
            versions={"tuxpaint-stamps-default": "2022.06.04-1"},
            counts={"train": 648, "dev": 39, "test": 65},
        ),
        Corpus(
            name="drascula",
            reader=DrasculaReader("es", "en"),
            licence="LicenseRef-Drascula",
            attribution=(
                "Drascula: The Vampire Strikes Back. Copyright 1996-2008 Alcachofa Soft S.L. "
                "This is a modified version of the game's data: speech and subtitles only. It may "
                "be distributed free of charge with this notice and the game's readme; no fee may "
                "be charged for the game itself. The data is provided AS IS, without warranty."
            ),
            versions={"drascula": "1.0+ds4-2", "drascula-spanish": "1.0+ds4-2"},
            counts={"train": 621, "dev": 45, "test": 72},
        ),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (ES_EN,)}
