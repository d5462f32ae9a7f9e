"""What it takes to hear with a translator."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.codec import encode
from echostream.constants import SAMPLE_RATE
from echostream.model import SpeechModel
from echostream.session import Translator, TranslatorState, Turn


def spoil(model: SpeechModel, where: str) -> None:
    """Make one weight NaN, in the ``encoder`` or in the ``head`` of the translation."""
    weights = dict(model.named_parameters())
    name = (
        "st_head.projection.bias"
        if where == "head"
        else next(n for n in weights if n.startswith("encoder.stacks") and n.endswith("weight"))
    )
    with torch.no_grad():
        weights[name].view(-1)[0] = float("nan")


@dataclass(frozen=True)
class Heard:
    """What came of a recording."""

    turns: tuple[Turn, ...]
    frames: NDArray[np.float32]
    state: TranslatorState
    state_bytes: tuple[int, ...]
    """Size of the encoder's state after each segment."""

    @property
    def words(self) -> list[str]:
        return [word for turn in self.turns for word in turn.words]

    @property
    def decisions(self) -> tuple[Any, ...]:
        """What was decided when, in audio time: the same for every segmentation."""
        return tuple(dataclasses.astuple(turn) for turn in self.turns)


def hear(
    translator: Translator,
    samples: Any,
    sizes: int | Iterable[int] = 5120,
    rate: int = SAMPLE_RATE,
    state: TranslatorState | None = None,
) -> Heard:
    """Push a recording in segments; everything on the way must be finite.

    ``sizes`` is one length or the lengths in turn, of which the last goes on.
    """
    state = translator.init_state() if state is None else state
    turns: list[Turn] = []
    frames, sizes_of_state = [np.zeros((0, 0), np.float32)], []
    for part, is_final in pieces(samples, sizes):
        encoded, listener = translator.listener.step(part, rate, state.listener, is_final=is_final)
        for chunk in encoded.chunks:
            assert bool(torch.isfinite(chunk.frames).all())
            for scores in chunk.log_probs.values():
                assert not bool(scores.isnan().any())
            frames.append(chunk.frames.numpy())
        said, _, writer = translator.writer.step(encoded.chunks, state.writer, is_final=is_final)
        state = TranslatorState(listener, writer)
        turns += said
        sizes_of_state.append(listener.encoder.nbytes)
    assert_finite(state)
    joined = np.concatenate(frames[1:]) if frames[1:] else frames[0]
    return Heard(tuple(turns), joined, state, tuple(sizes_of_state))


def assert_finite(state: TranslatorState) -> None:
    """No NaN and no infinity in any tensor that the stream carries."""
    for name, tensor in state.listener.encoder.named_tensors():
        assert bool(torch.isfinite(tensor).all()), name


def assert_equal_states(one: TranslatorState, other: TranslatorState) -> None:
    """To the last bit."""
    pairs = zip(
        one.listener.encoder.named_tensors(), other.listener.encoder.named_tensors(), strict=True
    )
    for (name, a), (_, b) in pairs:
        assert torch.equal(a, b), name
    fronts = [encode(state.listener.front_end, "front end") for state in (one, other)]
    assert fronts[0] == fronts[1]
    assert one.writer == other.writer


def pieces(samples: Any, sizes: int | Iterable[int]) -> Iterable[tuple[Any, bool]]:
    """The recording in segments, and whether each is the last."""
    wanted = iter([sizes] if isinstance(sizes, int) else sizes)
    size = start = 0
    while True:
        size = next(wanted, size)
        yield samples[start : start + size], start + size >= len(samples)
        start += size
        if start >= len(samples):
            return
