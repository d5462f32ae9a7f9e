"""What a long run is judged by: the last lines of its report."""

from collections.abc import Sequence


def memory_problems(growth: float, most: float) -> list[str]:
    """What is wrong with a growth of memory, in bytes, if it is more than ``most``."""
    if growth <= most:
        return []
    return [f"memory grew by {growth / 2**20:.1f} MiB; expected at most {most / 2**20:.0f}"]


def verdict(problems: Sequence[str]) -> list[str]:
    """The last lines of a report."""
    lines = [f"PROBLEM: {problem}" for problem in problems]
    return [*lines, "verdict: " + ("not good" if problems else "good")]
