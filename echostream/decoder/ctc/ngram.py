"""An n-gram language model over SentencePiece units, for shallow fusion with a CTC search.

Symbols: ``V`` units, ``h`` a history of units, ``w`` a unit, ``n`` the order.

What is stored is a trie: the n-grams of each length in lexical order, each with ``log p(w | h)``,
the logarithm of its backoff weight as a history, and how many n-grams go on from it. A history's
probabilities come from the longest n-grams that are there, and from shorter ones times
backoff weights where they are not (Katz 1987, the form of ARPA files):

    p(w | h) = stored                        if h w is stored
               backoff(h) p(w | h without its first unit)   if not

The unit ``V`` stands for the start of a text in histories and is never predicted.

ARPA files, as KenLM and SRILM write them, are read too. The words of the file are the vocabulary's
SentencePiece pieces: a text is cut into pieces before a model is estimated from it. Logarithms in
the file are to base 10.
"""

from __future__ import annotations

import bisect
import functools
import gzip
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from echostream.errors import CheckpointError, DataError

_ARRAYS = ("children", "log_backoff", "log_prob", "unit")
_ABOUT = "ngram"
"""Entry of the file's header that says what is in it, as JSON."""

_CACHED_NUMBERS = 1 << 17
"""Log-probabilities kept for histories that come again: a megabyte whatever ``V`` is, so that
memory stays flat in a long stream."""


def _narrowest(numbers: NDArray[np.generic]) -> NDArray[np.generic]:
    """Whole numbers in the smallest type that holds them all."""
    whole = numbers.astype(np.int64)
    ends = whole.min(initial=0), whole.max(initial=0)
    return whole.astype(np.result_type(*map(np.min_scalar_type, ends)))


class NgramModel:
    """Probabilities of the next unit. Immutable; streams share one.

    Args:
        order: ``n``, the longest n-gram.
        vocab_size: ``V``.
        arrays: of the trie, ``[nodes]`` each, as `echostream.training.language_model` makes
            them: ``unit``, ``log_prob`` (natural), ``log_backoff`` and the number of ``children``.
            Node 0 is the empty history; then come the children of node 0, those of node 1 and so
            on, each node's ordered by unit.

    Raises:
        CheckpointError: if the arrays are not those of such a trie.
    """

    def __init__(self, order: int, vocab_size: int, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.order, self.vocab_size = order, vocab_size
        if sorted(arrays) != list(_ARRAYS) or len({len(array) for array in arrays.values()}) != 1:
            raise CheckpointError(
                f"an n-gram model has the arrays {sorted(arrays)} of lengths "
                f"{[len(array) for array in arrays.values()]}; expected {list(_ARRAYS)}, all of "
                "one length: make it again with `echostream language-model`"
            )
        self.arrays = {
            "unit": _narrowest(arrays["unit"]),
            "children": _narrowest(arrays["children"]),
            "log_prob": arrays["log_prob"].astype(np.float16),
            "log_backoff": arrays["log_backoff"].astype(np.float16),
        }
        self._unit = self.arrays["unit"].astype(np.int64)
        children = self.arrays["children"].astype(np.int64)
        self._first = np.concatenate(([1], 1 + children.cumsum()))
        # Views that give Python's own numbers, which is the quickest way to look one up.
        self._unit_view, self._first_view = self._unit.data, self._first.data
        self._log_prob = self.arrays["log_prob"].astype(np.float64)
        self._log_backoff = self.arrays["log_backoff"].astype(np.float64)
        self._check()
        self._row = functools.lru_cache(maxsize=max(1, _CACHED_NUMBERS // vocab_size))(
            self._make_row
        )

    @classmethod
    def from_file(cls, path: str | Path) -> NgramModel:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: if the file is missing, damaged, or holds something else or an older
                form.
        """
        try:
            with safetensors.safe_open(str(path), framework="numpy") as file:
                about = json.loads((file.metadata() or {})[_ABOUT])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            order, vocab_size = int(about["order"]), int(about["vocab_size"])
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"cannot read the n-gram model {path}: {error}; expected a file that `echostream "
                "language-model` wrote"
            ) from error
        try:
            return cls(order, vocab_size, arrays)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write a safetensors file."""
        about = json.dumps({"order": self.order, "vocab_size": self.vocab_size})
        # One entry, because those of a header come in any order.
        Path(path).write_bytes(safetensors.numpy.save(self.arrays, metadata={_ABOUT: about}))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rows that were kept stay behind: a model goes to other processes as it was read."""
        return type(self), (self.order, self.vocab_size, self.arrays)

    @property
    def start(self) -> int:
        """The unit that stands for the start of a text."""
        return self.vocab_size

    @property
    def num_ngrams(self) -> int:
        """Stored n-grams of all lengths."""
        return len(self._unit) - 1

    def shorten(self, history: Sequence[int]) -> tuple[int, ...]:
        """The part of a history that matters: its last ``n - 1`` units."""
        return tuple(history[max(0, len(history) - self.order + 1) :])

    def log_probs(self, history: tuple[int, ...]) -> NDArray[np.float64]:
        """``log p(w | history)`` of all units ``[V]``; not to be written to."""
        return self._row(self.shorten(history))

    def _make_row(self, history: tuple[int, ...]) -> NDArray[np.float64]:
        # With a place for the start of a text, which is a child of node 0 but never predicted.
        row = self._overlaid(np.zeros(self.vocab_size + 1), 0)
        for length in range(1, len(history) + 1):
            node = self._find(history[len(history) - length :])
            if node is not None:
                row += self._log_backoff[node]
                row = self._overlaid(row, node)
        row = row[: self.vocab_size]
        row.setflags(write=False)
        return row

    def _overlaid(self, row: NDArray[np.float64], node: int) -> NDArray[np.float64]:
        first, last = self._first[node], self._first[node + 1]
        row[self._unit[first:last]] = self._log_prob[first:last]
        return row

    def _find(self, history: Sequence[int]) -> int | None:
        node = 0
        units, first_of = self._unit_view, self._first_view
        for unit in history:
            first, last = first_of[node], first_of[node + 1]
            node = bisect.bisect_left(units, unit, first, last)
            if node == last or units[node] != unit:
                return None
        return node

    def _check(self) -> None:
        nodes, first = len(self._unit), self._first
        good = (
            self.order >= 1
            and self.vocab_size >= 1
            and nodes >= 1
            and first[-1] == nodes
            and bool((np.diff(first) >= 0).all())
            and bool((first[:-1] > np.arange(nodes)).all())
            and 0 <= int(self._unit.min()) <= int(self._unit.max()) <= self.vocab_size
            and int(first[1]) - 1 >= self.vocab_size
            and bool(np.isfinite(self._log_prob).all())
            and bool(np.isfinite(self._log_backoff).all())
        )
        if not good:
            raise CheckpointError(
                f"the arrays of an n-gram model of order {self.order} over {self.vocab_size} units "
                "are damaged; expected a trie that `echostream language-model` wrote"
            )


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
