"""State that a stream carries from one call to the next.

A state is a tree of frozen dataclasses whose leaves are tensors with the batch (stream) axis
first, whole numbers or ``None``. Nothing in a state is ever changed in place: a step returns a new
state, so keeping an old one and stepping from it again is always safe.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from echostream.errors import StateMismatchError


@dataclass(frozen=True)
class State:
    """Base of all states: what can be done to a tree of tensors as a whole."""

    counters: ClassVar[frozenset[str]] = frozenset()
    """Fields that Python reads in every step. They stay on the CPU, so that no step waits for what
    is queued on a GPU."""

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its dotted name, in a fixed order."""
        for field in dataclasses.fields(self):
            yield from _named(getattr(self, field.name), f"{prefix}{field.name}")

    def map(self, function: Callable[[str, Tensor], Tensor], prefix: str = "") -> Self:
        """A state of the same shape with ``function(name, tensor)`` in place of each tensor."""
        changes = {
            field.name: _mapped(getattr(self, field.name), function, f"{prefix}{field.name}")
            for field in dataclasses.fields(self)
        }
        return dataclasses.replace(self, **changes)

    def clone(self) -> Self:
        """A copy that shares no memory with this state."""
        return self.map(lambda _, tensor: tensor.clone())

    def detach(self) -> Self:
        """The same values cut off from the autograd graph."""
        return self.map(lambda _, tensor: tensor.detach())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """The state on another device; ``dtype`` applies to floating-point tensors only."""

        def move(name: str, tensor: Tensor) -> Tensor:
            wanted = None if name in self.counters else device
            return tensor.to(device=wanted, dtype=dtype if tensor.is_floating_point() else None)

        return self.map(move)

    @property
    def nbytes(self) -> int:
        """Bytes held by the tensors."""
        return sum(tensor.numel() * tensor.element_size() for _, tensor in self.named_tensors())

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(self.named_tensors())[1].device

    @property
    def batch_size(self) -> int:
        """Streams in this state."""
        return next(self.named_tensors())[1].shape[0]

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """Join states along the batch axis; the streams may be at different positions.

        Raises:
            StateMismatchError: if there are none or they differ in shape or settings.
        """
        if not states:
            raise StateMismatchError("cannot stack an empty list of states; give at least one")
        first = states[0]
        if len(states) == 1:
            return first
        settings = settings_of(first)
        for number, state in enumerate(states):
            if settings_of(state) != settings:
                raise StateMismatchError(
                    f"state {number} has settings {settings_of(state)}; expected those of state 0, "
                    f"{settings}: stack only streams of the same encoder and chunking"
                )
        names = [name for name, _ in first.named_tensors()]
        columns = zip(*([t for _, t in state.named_tensors()] for state in states), strict=True)
        joined = {}
        for name, tensors in zip(names, columns, strict=True):
            shape = tensors[0].shape[1:]
            for number, tensor in enumerate(tensors):
                if tensor.shape[1:] != shape:
                    raise StateMismatchError(
                        f"state {number} has {name} of shape {tuple(tensor.shape)}; expected "
                        f"[*, {', '.join(map(str, shape))}] as in state 0"
                    )
            joined[name] = torch.cat(tensors)
        return first.map(lambda name, _: joined[name])

    def unstack(self) -> list[Self]:
        """One state per stream; the inverse of :meth:`stack`."""
        rows = {name: tensor.split(1) for name, tensor in self.named_tensors()}
        # Copies: a view would keep all streams in memory for one.
        return [
            self.map(lambda name, _, row=row: rows[name][row].clone())  # type: ignore[misc]
            for row in range(self.batch_size)
        ]

    def rows(self, index: Tensor | slice) -> Self:
        """The streams of the given rows, in that order; of a slice as views."""
        at = _on_each_device(index)
        return self.map(lambda _, tensor: tensor[at(tensor.device)])

    def with_rows(self, index: Tensor, other: Self) -> Self:
        """This state with ``other``'s streams in the rows ``index``, none of them twice."""
        others = dict(other.named_tensors())
        at = _on_each_device(index)
        return self.map(lambda name, tensor: tensor.index_copy(0, at(tensor.device), others[name]))

    def select(self, active: Tensor, other: Self) -> Self:
        """Rows of this state where ``active`` [B] is true, rows of ``other`` elsewhere."""
        others = dict(other.named_tensors())
        at = _on_each_device(active)

        def choose(name: str, tensor: Tensor) -> Tensor:
            mask = at(tensor.device).view(-1, *([1] * (tensor.dim() - 1)))
            return torch.where(mask, tensor, others[name])

        return self.map(choose)


def _on_each_device(index: Tensor | slice) -> Callable[[torch.device], Any]:
    """Rows or a mask on the device that is asked for: counters are on the CPU, the rest may not."""
    return functools.cache(lambda device: index.to(device) if isinstance(index, Tensor) else index)


class EncoderState(State):
    """Of an encoder's stream; a frozen dataclass with two fields that others read."""

    @property
    def device(self) -> torch.device:
        """Where the tensors are, but for counters."""
        return next(t for name, t in self.named_tensors() if name not in self.counters).device

    @property
    def right_context(self) -> int:
        """Encoder frames behind a chunk that its frames see."""
        return 0

    if TYPE_CHECKING:  # Fields of the subclasses, each in its own order.

        @property
        def processed_frames(self) -> Tensor:
            """``[B]`` int64: encoder frames given out so far."""

        @property
        def chunk_size(self) -> int:
            """Encoder frames of a chunk."""


def settings_of(state: State) -> dict[str, Any]:
    """The whole numbers, words and ``None`` at the top of a state: what it was made for."""
    return {
        field.name: value
        for field in dataclasses.fields(state)
        if (value := getattr(state, field.name)) is None or isinstance(value, int | str)
    }


def _named(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, State):
        yield from value.named_tensors(f"{name}.")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _named(item, f"{name}.{index}")


def _mapped(value: Any, function: Callable[[str, Tensor], Tensor], name: str) -> Any:
    if isinstance(value, Tensor):
        return function(name, value)
    if isinstance(value, State):
        return value.map(function, f"{name}.")
    if isinstance(value, tuple):
        return tuple(_mapped(item, function, f"{name}.{index}") for index, item in enumerate(value))
    return value
