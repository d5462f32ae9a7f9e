"""What this machine can do (multiply matrices, read memory), and what a chunk asks of it.

Both are measured by torch in the same rounds as everything else. The peak is the fastest float32
product of square matrices of several sizes. The bandwidth is the fastest of several ways to read
float32 numbers once from one end to the other, each with next to no arithmetic. Two amounts are
read: as many bytes as the model has weights, again and again as a stream does, and more than the
last cache holds. Where the weights fit into that cache the first is faster; the bound takes the
faster, so that it is a bound in either case.

A chunk's multiply-adds are those of torch's own counter, which sees every matrix product and
convolution that runs and knows their shapes. Not counted, as usual, is what is done to single
numbers: gates, norms, activations, softmax, the weighted means of down-sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from echostream.constants import SUBSAMPLING
from echostream.encoder import ZipformerEncoder
from echostream.kernel import in_huge_pages
from eval.bench.rounds import Setting


@dataclass(frozen=True)
class Demand:
    """Of one call."""

    multiply_adds: int
    weight_bytes: int
    """Read once in a call, whatever the number of streams in it."""

    def times(self, streams: int) -> Demand:
        """Of a call for so many streams."""
        return Demand(streams * self.multiply_adds, self.weight_bytes)


def weight_bytes(module: nn.Module) -> int:
    """Of all parameters, each counted once."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


@torch.no_grad()
def multiply_adds(run: Callable[[], object]) -> int:
    """Of what ``run`` computes in torch by matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def chunk_multiply_adds(
    encoder: ZipformerEncoder, chunk_size: int, max_future_frames: int | None
) -> int:
    """Of one chunk of one stream.

    Two streams are counted and halved: a single one computes short depthwise convolutions as
    products of single numbers, which the counter does not see. The step runs once before, because
    what depends on weights alone is made then and kept.
    """
    state = encoder.init_state(2, chunk_size=chunk_size, max_future_frames=max_future_frames)
    features = state.pending.new_zeros(2, chunk_size * SUBSAMPLING, encoder.config.input_dim)
    encoder.step(features, state)
    return multiply_adds(lambda: encoder.step(features, state)) // 2


_SIZES = (512, 1024, 2048)
_ROW = 1024
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHE_BYTES = 64 * 2**20
"""Where the system does not say."""
_MOST_READ_BYTES = 2 * 2**30

_READERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "dot": lambda x: torch.dot(x, x),
    "norm": torch.linalg.vector_norm,
    "matrix-vector": lambda x: torch.mv(x.view(-1, _ROW), x[:_ROW]),
}


@dataclass(frozen=True)
class Limits:
    """Of one moment."""

    operations_per_s: float
    weights_bytes_per_s: float
    """Reading as much as the model's weights, again and again."""
    memory_bytes_per_s: float
    """Reading more than the last cache holds."""

    @property
    def bytes_per_s(self) -> float:
        """The faster of the two."""
        return max(self.weights_bytes_per_s, self.memory_bytes_per_s)


@dataclass(frozen=True)
class Bound:
    """The least time for a call, ms."""

    reading_ms: float
    """Weight bytes over bandwidth."""
    arithmetic_ms: float
    """Operations over peak."""

    @property
    def ms(self) -> float:
        """The larger of the two: at best they go on at the same time."""
        return max(self.reading_ms, self.arithmetic_ms)


def bound_of(demand: Demand, limits: Limits) -> Bound:
    """The least time for what is asked of the machine; a multiply-add is two operations."""
    return Bound(
        reading_ms=1000 * demand.weight_bytes / limits.bytes_per_s,
        arithmetic_ms=1000 * 2 * demand.multiply_adds / limits.operations_per_s,
    )


def last_cache_bytes() -> int:
    """Size of the processor's last cache, as far as the system says."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    texts = [path.read_text("ascii", "replace").strip() for path in _CACHES.glob("index*/size")]
    sizes = [
        int(text[:-1]) * units[text[-1]]
        for text in texts
        if text[:-1].isdigit() and text[-1] in units
    ]
    return max(sizes, default=_USUAL_CACHE_BYTES)


class LimitSettings:
    """The settings that measure the machine with one number of threads.

    Args:
        weight_bytes: of the model.
        threads: of torch.
        cache_bytes: of the last cache.
    """

    def __init__(self, weight_bytes: int, threads: int, cache_bytes: int) -> None:
        self.weights_read = _whole_rows(weight_bytes)
        self.memory_read = _whole_rows(max(weight_bytes, min(2 * cache_bytes, _MOST_READ_BYTES)))
        self._products = [
            (Setting(f"multiply {size} threads {threads}", _product(size), threads), 2 * size**3)
            for size in _SIZES
        ]
        self._reading: dict[int, list[tuple[Setting, int]]] = {}
        for amount in {self.weights_read, self.memory_read}:
            # Written, so that each page is there; huge pages are read faster than small ones.
            numbers = in_huge_pages(amount // 4).fill_(0.5)
            self._reading[amount] = [
                (
                    Setting(
                        f"read {amount} by {name} threads {threads}",
                        partial(read, numbers),
                        threads,
                    ),
                    amount,
                )
                for name, read in _READERS.items()
            ]

    @property
    def settings(self) -> list[Setting]:
        """To be measured."""
        return [s for group in (self._products, *self._reading.values()) for s, _ in group]

    def by_round(self) -> dict[int, Limits]:
        """What the machine did at its best in each round."""
        operations = _fastest(self._products)
        weights, memory = (
            _fastest(self._reading[amount]) for amount in (self.weights_read, self.memory_read)
        )
        return {
            number: Limits(operations[number], weights[number], memory[number])
            for number in sorted(operations.keys() & weights.keys() & memory.keys())
        }


def _whole_rows(size: int) -> int:
    """Bytes of whole rows of float32, at least one."""
    row = 4 * _ROW
    return max(1, -(-size // row)) * row


def _product(size: int) -> Callable[[], object]:
    a, b, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    return lambda: torch.mm(a, b, out=out)


def _fastest(settings: list[tuple[Setting, int]]) -> dict[int, float]:
    """The highest amount per second in each round, over settings and calls."""
    best: dict[int, float] = {}
    for setting, amount in settings:
        for number, least_ms in setting.by_round(min).items():
            best[number] = max(best.get(number, 0.0), 1000 * amount / least_ms)
    return best
