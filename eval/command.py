"""What the programs have in common: how they end, and the bar that shows how far they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from tqdm import tqdm

from echostream.errors import EchoStreamError

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """A bar on standard error, if that is a terminal and there is something to do."""
    return tqdm(items, total=total, desc=what, disable=None) if total else items


def ended(name: str, work: Callable[[], object]) -> int:
    """Do the work; the exit status. What is wrong, or an interruption, is said in one line."""
    try:
        work()
    except EchoStreamError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0
