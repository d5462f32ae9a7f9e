"""The recipes: which corpora belong to which language pair, and how much of them is where."""

from echostream.training.recipes.asterisk import Asterisk, AsteriskColombia, AsteriskItaly
from echostream.training.recipes.drascula import Drascula
from echostream.training.recipes.recipe import Recipe
from echostream.training.recipes.tuxpaint import Tuxpaint

COUNTS: dict[str, dict[type[Asterisk | Tuxpaint | Drascula], tuple[int, int, int]]] = {
    "es-en": {Asterisk: (386, 15, 48), Tuxpaint: (648, 39, 65), Drascula: (621, 45, 72)},
    # Drascula was not dubbed in French.
    "fr-en": {Asterisk: (425, 19, 59), Tuxpaint: (662, 37, 66)},
    "ca-en": {Tuxpaint: (579, 30, 59)},
    "ro-en": {Tuxpaint: (671, 39, 67)},
    # Tux Paint has 66 English captions of mostly one word, not worth its 161 MB.
    "en-es": {Asterisk: (386, 15, 48), Drascula: (620, 45, 72)},
}
"""Utterances of train, dev and test in the packages of Debian 12."""


def _recipe(name: str) -> Recipe:
    source, target = name.split("-")
    corpora = tuple(corpus(source, target, counts) for corpus, counts in COUNTS[name].items())
    return Recipe(name, source, target, corpora, unmarked=frozenset({"es"}))


RECIPES = {name: _recipe(name) for name in COUNTS} | {
    # Speakers that no model has heard, with texts that they have: for tests alone.
    "es-en-stranger": Recipe(
        "es-en-stranger",
        "es",
        "en",
        (AsteriskColombia("es", "en", (219, 7, 22)),),
        frozenset({"es"}),
    ),
    "it-en": Recipe("it-en", "it", "en", (AsteriskItaly("it", "en", (454, 19, 60)),)),
}
