"""ARPA files, as KenLM and SRILM write them, as language models of the search.

The words of the file are the vocabulary's SentencePiece pieces: a text is cut into pieces before a
model is estimated from it. Logarithms in the file are to base 10.
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from echostream.decoder.ctc.ngram import NgramModel
from echostream.errors import DataError

_START, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
_ABSENT = -10.0
"""Base-10 logarithm for a piece that the file does not have, where it has no ``<unk>`` either."""

_Ngrams = dict[tuple[int, ...], tuple[float, float]]
"""Natural logarithms of probability and backoff weight, by units."""


def read_arpa(path: str | Path, pieces: Sequence[str]) -> NgramModel:
    """The model of an ARPA file, plain or gzipped, over these pieces (unit ``i`` is ``pieces[i]``).

    N-grams with the end of a text are left out, since a search never asks for it. A piece that the
    file does not have gets the probability of ``<unk>``.

    Raises:
        DataError: if the file cannot be read, is damaged, or has words that are no pieces.
    """
    units = {piece: unit for unit, piece in enumerate(pieces)} | {_START: len(pieces)}
    ngrams: _Ngrams = {}
    unknown = _ABSENT * math.log(10)
    order = 0
    strangers: list[str] = []
    for length, number, fields in _entries(path):
        order = max(order, length)
        try:
            log_prob = float(fields[0]) * math.log(10)
            words = fields[1 : 1 + length]
            backoff = float(fields[1 + length]) * math.log(10) if len(fields) > 1 + length else 0.0
            if len(words) != length or len(fields) > 2 + length:
                raise ValueError(f"{len(fields)} fields")
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: is no {length}-gram ({error}); expected a logarithm, "
                f"{length} pieces and perhaps a backoff weight"
            ) from error
        if words == [_UNKNOWN]:
            unknown = log_prob
        elif _END in words or _UNKNOWN in words:
            continue
        elif all(word in units for word in words):
            ngrams[tuple(units[word] for word in words)] = log_prob, backoff
        else:
            strangers += [word for word in words if word not in units]
    if strangers:
        raise DataError(
            f"{path} has {len(strangers)} words that are no pieces of the vocabulary, such as "
            f"{strangers[0]!r}; expected a model of text that was cut into its pieces"
        )
    if not ngrams:
        raise DataError(f"{path} has no n-grams; expected an ARPA file of the vocabulary's pieces")
    for unit in range(len(pieces)):
        ngrams.setdefault((unit,), (unknown, 0.0))
    return NgramModel(order, len(pieces), _trie(path, ngrams))


def _entries(path: str | Path) -> Iterator[tuple[int, int, list[str]]]:
    r"""Length, line number and fields of each n-gram, from ``\data\`` to ``\end\``."""
    length = 0
    ended = False
    try:
        open_file = gzip.open if str(path).endswith(".gz") else open
        with open_file(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                line = line.strip()
                if line == "\\end\\":
                    ended = True
                    break
                if line.startswith("\\") and line.endswith("-grams:"):
                    length = int(line[1 : -len("-grams:")])
                elif line and length:
                    yield length, number, line.split()
    except (OSError, UnicodeDecodeError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the ARPA file {path}: {error}") from error
    if not ended:
        raise DataError(f"{path} has no \\end\\; expected a whole ARPA file, copy it again")


def _trie(path: str | Path, ngrams: _Ngrams) -> dict[str, np.ndarray]:
    """The arrays of :class:`NgramModel`: breadth first, children in the order of their units."""
    children: dict[tuple[int, ...], list[int]] = {}
    for units in ngrams:
        if units[:-1] and units[:-1] not in ngrams:
            raise DataError(
                f"{path} has an n-gram of {len(units)} units whose first {len(units) - 1} are no "
                "n-gram; expected the histories of all n-grams, as KenLM writes them"
            )
        children.setdefault(units[:-1], []).append(units[-1])
    nodes: list[tuple[int, ...]] = [()]
    for node in nodes:  # grows while it is walked
        nodes += [(*node, unit) for unit in sorted(children.get(node, ()))]
    values = [(0.0, 0.0), *(ngrams[node] for node in nodes[1:])]
    return {
        "unit": np.array([node[-1] if node else 0 for node in nodes]),
        "children": np.array([len(children.get(node, ())) for node in nodes]),
        "log_prob": np.array([log_prob for log_prob, _ in values]),
        "log_backoff": np.array([backoff for _, backoff in values]),
    }
