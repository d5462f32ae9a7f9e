"""A part of the corpus as fairseq batches it.

Symbols: ``B`` examples, ``T`` feature frames (100 Hz), ``F`` mel bins.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from echostream.training.corpus.utterances import Utterance
from echostream.training.features import FeatureReader, Features, seed_of, spec_augment
from echostream.training.preparation import Preparation

FRAMES_PER_SECOND = 100

Sample = dict[str, Any]  # a batch, as `SpeechDataset.collater` makes it


class SpeechDataset(FairseqDataset):  # type: ignore[misc]
    """Utterances in random groups, each group one example; the groups change with the epoch.

    As many utterances in a row as is drawn from ``joined`` become one example, so that the model
    learns to go on after a sentence as it must in a stream. In the first ``solo_epochs`` epochs
    each stands alone, only those of at most ``solo_frames`` take part (all, if none is as short),
    and nothing is masked or augmented: CTC finds the alignment of single short sentences much
    sooner. An example is not made longer than ``max_frames``, if its first utterance is not. What
    is drawn depends on seed and epoch alone, so a resumed run draws the same. Without ``training``
    nothing is shuffled, joined, augmented or masked.
    """

    can_reuse_epoch_itr_across_epochs = False  # an epoch has examples of its own

    def __init__(
        self,
        utterances: Sequence[Utterance],
        prepared: Preparation,
        reader: FeatureReader,
        *,
        seed: int = 1,
        max_frames: int | None = None,
        joined: Sequence[int] = (1,),
        solo_epochs: int = 0,
        solo_frames: int | None = None,
        training: bool = True,
    ) -> None:
        self.utterances = list(utterances)
        self.reader, self.seed, self.training = reader, seed, training
        self.max_frames, self.joined, self.solo_epochs = max_frames, tuple(joined), solo_epochs
        self.frames = [max(1, round(u.seconds * FRAMES_PER_SECOND)) for u in self.utterances]
        self.source = [prepared.source.encode(u.source_text) for u in self.utterances]
        self.target = [prepared.target.encode(u.target_text) for u in self.utterances]
        everything = range(len(self.utterances))
        short = [n for n in everything if solo_frames is None or self.frames[n] <= solo_frames]
        self.short = short or list(everything)
        self.epoch = 0
        self.groups: list[tuple[int, ...]] = [(index,) for index in everything]
        self.sizes: NDArray[np.int64] = np.array(self.frames, dtype=np.int64)
        self._kept: dict[int, Features] = {}

    @property
    def first_stage(self) -> bool:
        """Whether this epoch (counted from 1) is of the first stage."""
        return self.training and self.epoch <= self.solo_epochs

    def set_epoch(self, epoch: int) -> None:
        """Draw the examples of an epoch."""
        if not self.training or epoch == self.epoch:
            return
        self.epoch = epoch
        chance = random.Random(seed_of(self.seed, epoch, "examples"))
        order = list(self.short if self.first_stage else range(len(self.utterances)))
        chance.shuffle(order)
        joined = (1,) if self.first_stage else self.joined
        self.groups = []
        while order:
            count, frames = 1, self.frames[order[0]]
            wanted = chance.choice(joined)
            while count < min(wanted, len(order)):
                frames += self.frames[order[count]]
                if self.max_frames is not None and frames > self.max_frames:
                    break
                count += 1
            self.groups.append(tuple(order[:count]))
            order = order[count:]
        sizes = [sum(self.frames[index] for index in group) for group in self.groups]
        self.sizes = np.array(sizes, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.groups)

    def num_tokens(self, index: int) -> int:
        """What ``--max-tokens`` counts: feature frames, before the tempo is changed."""
        return int(self.sizes[index])

    def ordered_indices(self) -> NDArray[np.int64]:
        """By length, so that examples of similar length share a batch; fairseq shuffles batches."""
        return np.argsort(self.sizes, kind="stable")

    def filter_indices_by_size(
        self, indices: NDArray[np.int64], max_sizes: object
    ) -> tuple[NDArray[np.int64], list[int]]:
        """All of them: fairseq would leave out what is longer than a batch may be."""
        return indices, []

    def batch_by_size(
        self,
        indices: NDArray[np.int64],
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[NDArray[np.int64]]:
        """Examples in a row share a batch while it stays within ``max_tokens``, padding included.

        fairseq's own loses the last batch if it should hold a multiple of some number of examples
        and does not; here there is no such rule. An example that is too long by itself has a batch
        of its own.
        """
        batches: list[list[int]] = [[]]
        longest = 0
        for index in indices.tolist():
            size = len(batches[-1]) + 1
            longest = max(longest, self.num_tokens(index))
            full = max_tokens is not None and size * longest > max_tokens
            if size > 1 and (full or (max_sentences is not None and size > max_sentences)):
                batches.append([])
                longest = self.num_tokens(index)
            batches[-1].append(index)
        return [np.array(batch, dtype=np.int64) for batch in batches if batch]

    def __getitem__(self, index: int) -> Sample:
        group = self.groups[index]
        features = np.concatenate([self._features(member) for member in group])
        members = [self.utterances[member] for member in group]
        keys = "+".join(member.key for member in members)
        if self.training and not self.first_stage:
            chance = np.random.default_rng(seed_of(self.seed, self.epoch, "masks", keys))
            features = spec_augment(features, chance)
        return {
            "index": index,
            "keys": keys,
            "features": features,
            "source": [unit for member in group for unit in self.source[member]],
            "target": [unit for member in group for unit in self.target[member]],
            "source_text": " ".join(member.source_text for member in members),
            "target_text": " ".join(member.target_text for member in members),
        }

    def _features(self, member: int) -> Features:
        if self.training:
            return self.reader(self.utterances[member], self.epoch, augmented=not self.first_stage)
        # The validation part is small, and read again for each validation.
        if member not in self._kept:
            self._kept[member] = self.reader(self.utterances[member])
        return self._kept[member]

    def collater(self, samples: Sequence[Sample]) -> Sample:
        """Pad the features with zeros and put the units end to end; ``{}`` for no samples."""
        if not samples:
            return {}
        features = [torch.from_numpy(sample["features"]) for sample in samples]
        lengths = torch.tensor([len(each) for each in features])
        batch = {
            "id": torch.tensor([sample["index"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(sample["target"]) for sample in samples),
            "seed": seed_of(self.seed, self.epoch, *(s["keys"] for s in samples)) % (1 << 31),
            "first_stage": self.first_stage,
            "net_input": {
                "features": pad_sequence(features, batch_first=True),
                "lengths": lengths,
            },
            "texts": [(sample["source_text"], sample["target_text"]) for sample in samples],
        }
        for side in ("source", "target"):
            batch[side] = torch.tensor([unit for sample in samples for unit in sample[side]])
            batch[f"{side}_lengths"] = torch.tensor([len(sample[side]) for sample in samples])
        return batch
