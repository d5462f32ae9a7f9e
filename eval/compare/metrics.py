"""What the report knows about the metrics: which are quality, what they are in words, their digits.

A computation-aware figure has the name of the plain one and an ending: ``LAAL_CA``, ``LAAL_RT``.
"""

from collections.abc import Iterable

from eval.compare.schema import Point, Score

QUALITY = {
    "BLEU": "n-gram overlap with the reference; higher is better",
    "chrF": "character n-gram overlap with the reference; higher is better",
    "WER": "word edits against the reference, in per cent of its words; lower is better",
}
"""In the order in which they are offered."""

LATENCY = {
    "LAAL": "how far the words lag behind an ideal translator, which spreads them evenly over the "
    "recording; words too many gain nothing",
    "AL": "as LAAL, but a translation longer than its reference looks faster",
    "YAAL": "as LAAL, but words written after the end of the recording do not count",
    "DAL": "lag behind an ideal translator, where each word takes its time",
    "ATD": "mean distance from the end of a word to the end of the stretch of speech it stands for",
    "StartOffset": "when the first word was written",
    "EndOffset": "how long after the end of the recording the last word was written",
    "AP": "mean share of the recording that was heard before a word was written",
}

ENDINGS = {
    "_CA": "computing time added to the audio heard, as SimulEval does",
    "_RT": "with computing time as it passes for a listener, while more audio comes in",
}


def stem(name: str) -> str:
    """``LAAL`` for ``LAAL_CA``."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def explain(name: str) -> str:
    """One phrase for the metric ``name``, empty if it is not known."""
    words = QUALITY.get(name) or LATENCY.get(stem(name), "")
    ending = next((ENDINGS[ending] for ending in ENDINGS if name.endswith(ending)), "")
    return "; ".join(filter(None, (words, ending)))


def names_in(points: Iterable[Point]) -> list[str]:
    """All metrics of the points: quality, then latency as in :data:`LATENCY`, then the others."""
    found = list(dict.fromkeys(name for point in points for name in point.figures))
    order = [*QUALITY, *(f"{name}{ending}" for name in LATENCY for ending in ("", *ENDINGS))]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def is_latency(name: str, unit: str) -> bool:
    """Whether a figure is a time that words took: one in ms, or AP, which is a share."""
    return name not in QUALITY and (unit == "ms" or stem(name) == "AP")


def with_unit(name: str, unit: str) -> str:
    """``LAAL (ms)``."""
    return f"{name} ({unit})" if unit else name


def number(value: float | None, name: str, unit: str) -> str:
    """With the digits that mean something: ms whole, quality to one digit, ratios to three."""
    if value is None:
        return "–"
    decimals = 0 if unit == "ms" else 1 if name in QUALITY else 3
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def with_interval(score: Score, name: str) -> str:
    """``7.0 [5.1, 8.9]``; without the brackets where there is no interval."""
    value = number(score.value, name, score.unit)
    if score.value is None or score.low is None or score.high is None:
        return value
    low, high = (number(end, name, score.unit) for end in (score.low, score.high))
    return f"{value} [{low}, {high}]"
