"""Which reference sentence each word of an output without sentences belongs to.

Legend: R tokens of the references, H tokens of the output; s [R, H] similarity of two tokens; best
[H + 1] the best total of the references so far with the first 0 .. H tokens of the output.

Output and references are aligned as two sequences: tokens stand opposite each other in order, and a
token may stand alone. Three rules choose among the alignments:

- ``soft``: the highest sum of s, the part of two tokens' characters that they share; a mark never
  stands opposite a word. SoftSegmenter of Polak et al. 2025 (arXiv 2509.17349), which is behind
  LongYAAL.
- ``causal``: the same among those that give no token to a sentence which begins after the token was
  written. Alignments that err so are where the others' figures are too low, even negative.
- ``mwer``: the fewest substitutions, deletions and insertions, so that the word error rate over the
  sentences is the least there is. Matusov et al. 2005, which is behind StreamLAAL.

A token of the output that stands alone goes with the reference token before it, until one is more
like the reference token after it: from there on with that one. So sentences stay in order. By the
first two rules, as in OmniSTEval, lone marks before everything else are of no sentence if the first
reference begins with a word, and lone words are if it begins with a mark.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError

Array = NDArray[np.float64]
Tokenizer = Callable[[str], list[str]]

MARKS = frozenset(".!?,;:-()。！？，；：—（）ー")


class Rule(StrEnum):
    """What the best alignment is."""

    SOFT = "soft"
    CAUSAL = "causal"
    MWER = "mwer"


def sentence_of_words(
    words: Sequence[str],
    sentences: Sequence[Sequence[str]],
    rule: Rule = Rule.SOFT,
    *,
    tokenize: Tokenizer | None = None,
    is_exact: bool = False,
    written: Sequence[float] = (),
    begins: Sequence[float] = (),
) -> list[int]:
    """The sentence of each word, never decreasing; -1 for one of none, see above.

    Args:
        words: [n] of the output, or characters.
        sentences: words (or characters) of each reference; some may be empty.
        rule: as above. Case never counts.
        tokenize: into tokens that are aligned; a word goes where its first token goes. None for
            whole words.
        is_exact: two tokens are alike or not, for characters.
        written: [n] when each word was, ms, never decreasing; the causal rule needs it.
        begins: of each sentence, ms of the same clock.

    Raises DataError for references without any word.
    """
    references = [_tokens(word, tokenize) for sentence in sentences for word in sentence]
    owners = [number for number, sentence in enumerate(sentences) for _ in sentence]
    owner = [number for number, tokens in zip(owners, references, strict=True) for _ in tokens]
    outputs = [_tokens(word, tokenize) for word in words]
    said = [token for tokens in outputs for token in tokens]
    wanted = [token for tokens in references for token in tokens]
    if not wanted:
        raise DataError("the reference sentences of a recording hold no word; expected some")
    if not said:
        return []
    is_exact = is_exact or rule is Rule.MWER
    sizes = [len(tokens) for tokens in outputs]
    timed = rule is Rule.CAUSAL
    times = np.repeat(written if timed else np.zeros(len(words)), sizes)
    earliest = [begins[number] if timed else -1.0 for number in owner]
    rows = _similarities(wanted, said, is_exact, cost=1.0 if rule is Rule.MWER else 0.0)
    rows = _causal(rows, times, earliest)
    opposite = _aligned(rows, len(said), gap=1.0 if rule is Rule.MWER else 0.0)
    places = _places(opposite, wanted, said, is_exact, rule is not Rule.MWER, times, earliest)
    starts = np.cumsum([0, *sizes])[:-1]
    owner.append(-1)
    return [owner[places[start]] for start in starts.tolist()]


def moses(language: str) -> Tokenizer:
    """The tokenizer of Moses, which OmniSTEval uses for ``--lang``.

    Raises DataError where it is not installed.
    """
    try:
        from mosestokenizer import MosesTokenizer
    except ImportError as error:
        raise DataError(
            "tokens of a language need Moses; pip install mosestokenizer (and Perl), or align "
            "whole words without --language"
        ) from error
    tokenizer: Tokenizer = MosesTokenizer(lang=language, no_escape=True)
    return tokenizer


def _tokens(word: str, tokenize: Tokenizer | None) -> list[str]:
    text = unicodedata.normalize("NFKC", word).lower()
    return (tokenize(text) if tokenize else None) or [text]


def similarity(one: str, other: str, is_exact: bool) -> float:
    """Of two tokens: 0 to 1, or minus infinity for a mark and a word."""
    if (one in MARKS) is not (other in MARKS):
        return -np.inf
    if is_exact:
        return float(one == other)
    shared = len(set(one) & set(other))
    return shared / (len(set(one)) + len(set(other)) - shared)


def _similarities(
    wanted: Sequence[str], said: Sequence[str], is_exact: bool, cost: float
) -> Iterator[Array]:
    """Rows of s, less ``cost``; each distinct pair is compared once."""
    distinct = {token: place for place, token in enumerate(dict.fromkeys(said))}
    places = np.array([distinct[token] for token in said])
    alphabet = {sign: place for place, sign in enumerate(sorted(set("".join((*wanted, *said)))))}
    signs = np.zeros((len(distinct), len(alphabet)), np.float32)
    for token, place in distinct.items():
        signs[place, [alphabet[sign] for sign in token]] = 1
    sizes = signs.sum(axis=1)
    is_mark = np.array([token in MARKS for token in distinct])
    for token in wanted:
        if is_exact:
            row = np.zeros(len(distinct))
            if token in distinct:
                row[distinct[token]] = 1
        else:
            own = sorted({alphabet[sign] for sign in token})
            shared = signs[:, own].sum(axis=1).astype(np.float64)
            row = shared / (len(own) + sizes - shared)
        # Whole texts without words cannot be aligned by words, so only the soft rule tells marks.
        if not cost:
            row[is_mark != (token in MARKS)] = -np.inf
        yield row[places] - cost


def _causal(rows: Iterator[Array], times: Array, earliest: Sequence[float]) -> Iterator[Array]:
    """The same, with minus infinity where a token was written before its sentence began."""
    for row, begin in zip(rows, earliest, strict=True):
        row[times <= begin] = -np.inf
        yield row


def _aligned(rows: Iterator[Array], length: int, gap: float) -> list[int]:
    """[H]: which reference token stands opposite each token of the output.

    Of one that stands alone it is -1 less the number of reference tokens before it. Of equal totals
    a pair is preferred to a lone reference, and that to a lone token of the output.
    """
    ramp = gap * np.arange(length + 1)
    best = -ramp
    pairs, deletions = list[NDArray[np.uint8]](), list[NDArray[np.uint8]]()
    for row in rows:
        pair, deletion = best[:-1] + row, best - gap
        reached = deletion.copy()
        np.maximum(reached[1:], pair, out=reached[1:])
        # A lone token of the output costs the gap, so that this is a running maximum on a ramp.
        best = np.maximum.accumulate(reached + ramp) - ramp
        insertion = best[:-1] - gap
        is_pair = (pair >= deletion[1:]) & (pair >= insertion)
        pairs.append(np.packbits(is_pair))
        deletions.append(np.packbits(~is_pair & (deletion[1:] >= insertion)))
    opposite = [0] * length
    before, place = len(pairs), length
    while before and place:
        is_pair, is_deletion = (
            np.unpackbits(table[before - 1], count=length) for table in (pairs, deletions)
        )
        while place and not is_pair[place - 1] and not is_deletion[place - 1]:
            place -= 1
            opposite[place] = -1 - before
        if place and is_pair[place - 1]:
            place -= 1
            opposite[place] = before - 1
        before -= 1
    opposite[:place] = [-1] * place
    return opposite


def _places(
    opposite: Sequence[int],
    wanted: Sequence[str],
    said: Sequence[str],
    is_exact: bool,
    is_soft: bool,
    times: Array,
    earliest: Sequence[float],
) -> list[int]:
    """[H]: the reference token that each token of the output goes with, or -1."""
    places: list[int] = []
    moved = -1  # the lone tokens with so many references before them go with the next one
    for place, token, time in zip(opposite, said, times, strict=True):
        if place < 0:
            before = -1 - place
            can = before < len(wanted) and time > earliest[before]
            is_next = can and (before == moved or (before == 0 and not is_soft))
            if can and not is_next:
                after = similarity(token, wanted[before], is_exact)
                earlier = similarity(token, wanted[before - 1], is_exact) if before else -np.inf
                is_next = after > earlier
            moved = before if is_next else moved
            place = before if is_next else before - 1
        places.append(place)
    return places
