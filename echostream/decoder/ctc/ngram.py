"""An n-gram language model over SentencePiece units, for shallow fusion with a CTC search.

Symbols: ``V`` units, ``h`` a history of units, ``w`` a unit, ``n`` the order.

What is stored is a trie: the n-grams of each length in lexical order, each with ``log p(w | h)``,
the logarithm of its backoff weight as a history, and how many n-grams go on from it. A history's
probabilities come from the longest n-grams that are there, and from shorter ones times
backoff weights where they are not (Katz 1987, the form of ARPA files):

    p(w | h) = stored                        if h w is stored
               backoff(h) p(w | h without its first unit)   if not

The unit ``V`` stands for the start of a text in histories and is never predicted.
"""

from __future__ import annotations

import bisect
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from echostream.errors import CheckpointError

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
        arrays: of the trie, ``[nodes]`` each, as `echostream.training.ngram_estimation` makes
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
