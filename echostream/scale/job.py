"""What is done to each item, and how a worker computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")
InItem = TypeVar("InItem", contravariant=True)
Result = TypeVar("Result")
OutResult = TypeVar("OutResult", covariant=True)


class Job(Protocol[InItem, OutResult]):
    """Can be pickled."""

    def start(self) -> Callable[[InItem], OutResult]:
        """Called once in each process; gives what does one item."""
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one torch thread, as the agent does by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
