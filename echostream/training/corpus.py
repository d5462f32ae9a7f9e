"""Training examples in memory: features at several speeds, unit sequences, batches.

Symbols: ``B`` examples, ``T`` feature frames (100 Hz), ``F`` mel bins, ``U`` units.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from echostream.audio import FrontEnd, read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.recipes.manifest import ManifestRow

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """One recording: features ``[T, F]`` for each speed, transcript and translation as units."""

    row: ManifestRow
    features: tuple[Features, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """``features`` [B, T, F] with ``lengths`` [B]; the units of all examples end to end."""

    features: Tensor
    lengths: Tensor
    sources: Tensor
    source_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor


def extract_features(
    rows: Sequence[ManifestRow], folder: Path, front_end: FrontEnd, speeds: Sequence[float]
) -> list[tuple[Features, ...]]:
    """Feature frames of each row's recording at each speed (1.1 is faster and higher)."""
    result = []
    for row in tqdm(rows, desc="features", unit="clip"):
        samples, rate = read_audio(folder / row.audio)
        if rate != SAMPLE_RATE:
            raise DataError(
                f"{folder / row.audio} has {rate} samples per second; expected {SAMPLE_RATE}, run "
                "`echostream data` again"
            )
        versions = []
        for speed in speeds:
            sounding = (
                samples
                if speed == 1.0
                else soxr.resample(samples, speed * SAMPLE_RATE, SAMPLE_RATE)
            )
            features, state = front_end.step(sounding, SAMPLE_RATE, front_end.init_state())
            rest, _ = front_end.flush(state)
            versions.append(np.concatenate((features, rest)))
        result.append(tuple(versions))
    return result


def make_batches(
    utterances: Sequence[Utterance],
    *,
    max_frames: int,
    joined: Sequence[int],
    chance: random.Random,
) -> Iterator[Batch]:
    """One epoch in random order.

    As many utterances in a row as is drawn from ``joined`` become one example, so that the model
    learns to go on after a sentence as it must in a stream. Examples of similar length share a
    batch of at most ``max_frames`` feature frames, padding included.
    """
    order = list(utterances)
    chance.shuffle(order)
    examples: list[tuple[Features, list[int], list[int]]] = []
    while order:
        count = chance.choice(joined)
        group, order = order[:count], order[count:]
        parts: list[Features] = []
        for utterance in group:
            parts.append(chance.choice(utterance.features))
        examples.append(
            (
                np.concatenate(parts),
                [unit for utterance in group for unit in utterance.source],
                [unit for utterance in group for unit in utterance.target],
            )
        )
    examples.sort(key=lambda example: len(example[0]))
    batches: list[list[tuple[Features, list[int], list[int]]]] = [[]]
    for example in examples:
        if batches[-1] and (len(batches[-1]) + 1) * len(example[0]) > max_frames:
            batches.append([])
        batches[-1].append(example)
    chance.shuffle(batches)
    for batch in batches:
        yield collate(batch)


def collate(examples: Sequence[tuple[Features, Sequence[int], Sequence[int]]]) -> Batch:
    """Pad the features with zeros and join the units."""
    lengths = [len(features) for features, _, _ in examples]
    padded = torch.zeros(len(examples), max(lengths), examples[0][0].shape[1])
    for row, (features, _, _) in enumerate(examples):
        padded[row, : len(features)] = torch.from_numpy(features)
    return Batch(
        features=padded,
        lengths=torch.tensor(lengths),
        sources=torch.tensor([unit for _, source, _ in examples for unit in source]),
        source_lengths=torch.tensor([len(source) for _, source, _ in examples]),
        targets=torch.tensor([unit for _, _, target in examples for unit in target]),
        target_lengths=torch.tensor([len(target) for _, _, target in examples]),
    )


def spec_augment(batch: Batch, chance: random.Random) -> Tensor:
    """Loudness shift, two masked bands and masked stretches of time (arXiv 1904.08779).

    Features are normalised, so zero is the mean of the training data.
    """
    features = batch.features.clone()
    bins = features.shape[2]
    for row, length in enumerate(batch.lengths.tolist()):
        features[row, :length] += chance.uniform(-0.5, 0.5)
        for _ in range(2):
            width = chance.randrange(0, 20)
            start = chance.randrange(0, bins - width)
            features[row, :, start : start + width] = 0.0
        for _ in range(max(1, length // 150)):
            width = chance.randrange(0, min(30, length))
            start = chance.randrange(0, length - width)
            features[row, start : start + width] = 0.0
    return features
