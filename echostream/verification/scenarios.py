"""Ways to push features into an encoder that must all give what ``forward`` gives.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``F`` mel bins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.constants import SAMPLE_RATE
from echostream.session import Translator
from echostream.verification.difference import Tally
from echostream.verification.recorder import ENCODER_OUTPUT, Frames, Recorder, calls_of, joined
from echostream.verification.signals import silent, varied
from echostream.verification.subjects import Subject, state_frames

BATCH = 3
"""Streams of a batch."""

_MOST_CUTS = 12
_SINGLE_SECONDS = 2.0
"""Audio that is pushed frame by frame."""
_CHUNKS_MS = (160, 320, 640, 1280)
_LEFT_CONTEXTS_MS = (0, 1280, 2560)
_RIGHT_CONTEXTS_MS = (0, 100, 320, 640)
_FUTURES = (None, 0, 1, 4)


@dataclass(frozen=True, eq=False)
class Trial:
    """One draw of a scenario."""

    subject: Subject
    translator: Translator
    """The agent around the subject's encoder."""
    forced: bool
    """Whether the words are given, because the weights are random."""
    chance: np.random.Generator
    seconds: float
    """Of the longest recording."""
    tally: Tally

    def audio(self, make: Callable[..., NDArray[np.float32]] = varied) -> NDArray[np.float32]:
        """``[n]`` samples, half to all of ``seconds`` long."""
        return make(self.chance, int(self.chance.uniform(0.5, 1.0) * self.seconds * SAMPLE_RATE))

    def features(self, make: Callable[..., NDArray[np.float32]] = varied) -> Tensor:
        """``[T, F]`` of such audio."""
        front_end = self.translator.listener.front_end
        features, _ = front_end.step(self.audio(make), SAMPLE_RATE, front_end.init_state())
        return torch.from_numpy(features).to(self.subject.dtype)

    def cuts(self, total: int, most: int = _MOST_CUTS) -> list[int]:
        """Places, in order, at which to cut ``total`` things; a place twice is an empty push."""
        places = self.chance.integers(0, total + 1, int(self.chance.integers(1, most + 1)))
        return sorted(places.tolist())


Scenario = Callable[[Trial], None]
"""Streams audio, and adds to the tally what came out and what ought to have."""


def ragged_cuts(trial: Trial) -> None:
    """One recording in pieces of any size, empty ones among them."""
    features = trial.features()
    _push_one(trial, features, trial.cuts(len(features)))


def single_frames(trial: Trial) -> None:
    """One recording frame by frame."""
    features = trial.features()[: int(100 * _SINGLE_SECONDS)]
    _push_one(trial, features, range(1, len(features)))


def silence(trial: Trial) -> None:
    """Digital silence, or silence around sound."""
    features = trial.features(silent)
    _push_one(trial, features, trial.cuts(len(features)))


def saved_and_restored(trial: Trial) -> None:
    """The state goes through bytes in mid-stream."""
    features = trial.features()
    encoder: Any = trial.subject.encoder

    def restored(state: Any) -> Any:
        return encoder.restore(state.to_bytes(encoder.fingerprint()))

    _push_one(trial, features, trial.cuts(len(features), most=3), between=restored)


def moved_between_backends(trial: Trial) -> None:
    """A stream goes on in torch and back again."""
    features = trial.features()
    _push_one(trial, features, trial.cuts(len(features)), elsewhere=trial.subject.model.encoder)


def batch_of_lengths(trial: Trial) -> None:
    """Streams of different lengths at different positions in one batch, each against its own.

    What stands after a stream's own frames is noise, and between two pushes the batch is taken
    apart and put together again.
    """
    recordings = [trial.features() for _ in range(BATCH)]
    recordings[0] = recordings[0][: len(recordings[0]) // 3]
    edges = [[0, *trial.cuts(len(f)), len(f)] for f in recordings]
    steps = max(map(len, edges)) - 1
    # Streams with fewer pieces begin late or end early.
    late = [int(trial.chance.integers(0, steps - len(e) + 2)) for e in edges]
    plan = [
        [_counts(e, step - start) for e, start in zip(edges, late, strict=True)]
        for step in range(steps)
    ]
    _push(trial, recordings, plan, between=lambda state: type(state).stack(state.unstack()))


def batch_in_step(trial: Trial) -> None:
    """Streams of one length in one batch, for an encoder whose streams advance together."""
    recordings = [trial.features() for _ in range(BATCH)]
    shortest = min(map(len, recordings))
    recordings = [features[:shortest] for features in recordings]
    edges = [0, *trial.cuts(shortest), shortest]
    _push(trial, recordings, [[end - start] * BATCH for start, end in pairwise(edges)])


def other_chunkings(trial: Trial) -> None:
    """Other chunks, contexts and look-aheads than the configuration's."""
    features, encoder = trial.features(), trial.subject.model.encoder
    values = {
        "chunk_size": [ms // encoder.frame_ms for ms in _CHUNKS_MS],
        "left_context": [ms // encoder.frame_ms for ms in _LEFT_CONTEXTS_MS],
        "right_context": [ms // encoder.frame_ms for ms in _RIGHT_CONTEXTS_MS],
        "max_future_frames": _FUTURES,
    }
    chunking = {
        name: choices[int(trial.chance.integers(len(choices)))]
        for name, choices in values.items()
        if name in encoder.capabilities.chunking
    }
    _push_one(trial, features, trial.cuts(len(features)), chunking)


def _counts(edges: Sequence[int], piece: int) -> int:
    return edges[piece + 1] - edges[piece] if 0 <= piece < len(edges) - 1 else 0


def _push_one(trial: Trial, features: Tensor, cuts: Sequence[int], *args: Any, **how: Any) -> None:
    """One recording ``[T, F]`` cut at ``cuts``."""
    edges = pairwise([0, *cuts, len(features)])
    _push(trial, [features], [[end - start] for start, end in edges], *args, **how)


def _push(
    trial: Trial,
    recordings: Sequence[Tensor],
    plan: Sequence[Sequence[int]],
    chunking: Mapping[str, Any] | None = None,
    *,
    between: Callable[[Any], Any] = lambda state: state,
    elsewhere: Any = None,
) -> None:
    """Recordings ``[T, F]`` together, and each offline.

    ``plan[k][b]`` frames of recording ``b`` are pushed in step ``k``, every other step into
    ``elsewhere`` if that is given; ``between`` changes the state after each step.
    """
    subject, chunking = trial.subject, chunking or {}
    offline = [subject.offline(features, chunking) for features in recordings]
    state = subject.init_state(len(recordings), chunking)
    given = [0] * len(recordings)
    parts = []
    like = recordings[0]
    with subject.recorder() as recorder:
        for number, counts in enumerate(plan):
            noise = trial.chance.standard_normal((len(recordings), max(counts), like.shape[1]))
            block = torch.from_numpy(noise).to(like.dtype)
            for row, count in enumerate(counts):
                block[row, :count] = recordings[row][given[row] : given[row] + count]
                given[row] += count
            encoder = elsewhere if elsewhere is not None and number % 2 else subject.encoder
            lengths = torch.tensor(counts) if len(counts) > 1 else None
            part, state = _step(encoder, block, state, recorder, lengths=lengths)
            parts.append(part)
            state = between(state)
        nothing = like.new_zeros(len(recordings), 0, like.shape[1])
        last, _ = _step(subject.encoder, nothing, state, recorder, is_final=True)
    expected = {name: tuple(frames[name][0] for frames in offline) for name in offline[0]}
    found = [
        subject.rounding(features, chunking, own)
        for features, own in zip(recordings, offline, strict=True)
    ]
    rounding = {name: max(own[name] for own in found) for name in found[0]}
    trial.tally.add(joined([*parts, last]) | state_frames(state), expected, rounding)


def _step(
    encoder: Any,
    features: Tensor,
    state: Any,
    recorder: Recorder,
    *,
    lengths: Tensor | None = None,
    is_final: bool = False,
) -> tuple[Frames, Any]:
    """One step: what each module gave for the frames of each stream, and the new state."""
    y, y_lengths, state = encoder.step(features, state, lengths, is_final=is_final)
    totals = y_lengths.tolist()
    frames = recorder.take(calls_of(totals, state.chunk_size))
    frames[ENCODER_OUTPUT] = tuple(row[:total] for row, total in zip(y, totals, strict=True))
    return frames, state


PLAIN: dict[str, Scenario] = {
    "ragged cuts": ragged_cuts,
    "single frames": single_frames,
    "silence": silence,
    "saved and restored": saved_and_restored,
    "batch of lengths": batch_of_lengths,
    "other chunkings": other_chunkings,
    "moved between backends": moved_between_backends,
    "batch in step": batch_in_step,
}
"""All of an encoder by itself; their order decides what is drawn."""


def scenarios_of(subject: Subject) -> dict[str, Scenario]:
    """The scenarios that an encoder can go through."""
    can = subject.encoder.capabilities
    compiled = subject.backend != "torch"
    possible = {
        "saved and restored": can.portable_state,
        "batch of lengths": can.batched,
        "batch in step": not can.batched,
        "moved between backends": compiled and subject.precision != "int8",
        "other chunkings": not compiled,
    }
    return {name: scenario for name, scenario in PLAIN.items() if possible.get(name, True)}
