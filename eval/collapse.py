"""Which measures against collapse are needed: the same short training with and without each.

    python -m eval.collapse --data data/es-en --output runs/collapse

Trains the network of ``configs/tiny.yaml`` to write the characters of some hundred telephone
prompts by CTC, once as shipped and once without each measure, with the same seed and batches.
Printed are the loss on recordings of the development part and the variance of the encoder's output
over their frames (``echostream/training/collapse.py``). A few minutes for each on one core; a
variant that is done is not run again.

    python -m eval.collapse --config configs/streamspeech-tiny.yaml --units 72 \\
        --variants "as shipped"

trains another network, and with longer units than characters, those of a SentencePiece vocabulary.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import trange

from echostream.audio import Cmvn, FrontEnd
from echostream.baseline import ChunkConformerEncoder
from echostream.baseline.chunk_conformer import BRANCH_SCALE
from echostream.config import load_config
from echostream.encoder.norm import BiasNorm, Bypass
from echostream.errors import ConfigError, DataError, EchoStreamError
from echostream.model.speech_model import make_encoder
from echostream.training.collapse import OutputSpread
from echostream.training.corpus import Utterance, read_corpus, select
from echostream.training.ctc import ctc_loss
from echostream.training.features import FeatureReader
from echostream.training.vocabulary import vocabulary
from eval.replay.files import write_whole

CONFIG = Path("configs/tiny.yaml")
PEAK_RATE, WARM_UP, CLIP = 1.5e-3, 100, 5.0
BATCH = 8
MAX_SECONDS = 4.0
REPORTS = 8
"""Measurements of a run."""


def as_shipped(encoder: nn.Module) -> None:
    """Change nothing."""


def usual_stem(encoder: nn.Module) -> None:
    """Initialise the stem as PyTorch would."""
    for module in encoder.stem.modules():  # type: ignore[union-attr]
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()


def without_bypass(encoder: nn.Module) -> None:
    """Let each layer replace its input."""
    for module in encoder.modules():
        if isinstance(module, Bypass):
            module.scale.requires_grad_(False).fill_(1.0)


def without_norm(encoder: nn.Module) -> None:
    """Take the norms out."""
    for module in encoder.modules():
        if isinstance(module, BiasNorm):
            setattr(module, "forward", nn.Identity().forward)  # noqa: B010 (a method)


Variant = tuple[Callable[[nn.Module], None], int, float]
"""What is changed in the encoder, updates of warm-up, peak rate."""
VARIANTS: dict[str, Variant] = {
    "as shipped": (as_shipped, WARM_UP, PEAK_RATE),
    "stem initialised as PyTorch does": (usual_stem, WARM_UP, PEAK_RATE),
    "without bypass": (without_bypass, WARM_UP, PEAK_RATE),
    "without norms": (without_norm, WARM_UP, PEAK_RATE),
    "without warm-up": (as_shipped, 1, PEAK_RATE),
    "ten times the rate": (as_shipped, WARM_UP, 10 * PEAK_RATE),
    "thirty times the rate": (as_shipped, WARM_UP, 30 * PEAK_RATE),
}


class Task:
    """Features and units of the recordings: characters, or those of a vocabulary of ``units``."""

    def __init__(self, utterances: Sequence[Utterance], units: int | None = None) -> None:
        reader = FeatureReader(FrontEnd(None, lead_in_samples=240))
        chosen = [u for u in utterances if u.source_text and u.seconds <= MAX_SECONDS]
        if len(select(chosen, "train")) < BATCH or not select(chosen, "dev"):
            raise DataError(
                f"{len(chosen)} recordings of at most {MAX_SECONDS:g} s were found; expected at "
                f"least {BATCH} to train on and one of the development part"
            )
        features = {u.key: reader(u) for u in chosen}
        frames = np.concatenate([features[u.key] for u in select(chosen, "train")])
        cmvn = Cmvn(frames.mean(axis=0), frames.std(axis=0))
        self.features = {key: torch.from_numpy(cmvn(own)) for key, own in features.items()}
        self.train = [u.key for u in select(chosen, "train")]
        if units is None:
            self.units, encode = _characters([u.source_text for u in chosen])
        else:
            texts = [u.source_text for u in select(chosen, "train")]
            with tempfile.TemporaryDirectory() as folder:
                encode = vocabulary(Path(folder) / "source.model", texts, units).encode
            self.units = units
        self.targets = {u.key: torch.tensor(encode(u.source_text)) for u in chosen}
        self.dev = [u.key for u in select(chosen, "dev")]

    def batch(self, keys: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features ``[B, T, F]``, their lengths, units end to end, their counts."""
        features = [self.features[key] for key in keys]
        targets = [self.targets[key] for key in keys]
        return (
            pad_sequence(features, batch_first=True),
            torch.tensor([len(own) for own in features]),
            torch.cat(targets),
            torch.tensor([len(own) for own in targets]),
        )


def _characters(texts: Sequence[str]) -> tuple[int, Callable[[str], Sequence[int]]]:
    """How many different characters there are, and what makes their numbers of a text."""
    numbers = {character: number for number, character in enumerate(sorted({*"".join(texts)}))}
    return len(numbers), lambda text: [numbers[character] for character in text]


class Network(nn.Module):
    """Encoder and one CTC head."""

    def __init__(self, units: int, config: Path) -> None:
        super().__init__()
        described = load_config(config).encoder
        encoder = make_encoder(described)
        if isinstance(encoder, ChunkConformerEncoder):
            encoder.shrink_branches(BRANCH_SCALE)
        self.encoder: Any = encoder
        self.head = nn.Linear(described.output_dim, units + 1)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder frames, their numbers, log-probabilities."""
        out = self.encoder(features, lengths)
        frames = out["encoder_out"]
        return frames, out["encoder_out_lengths"], self.head(frames).log_softmax(dim=2)


def train(
    task: Task, name: str, updates: int, seed: int, config: Path = CONFIG
) -> list[dict[str, float]]:
    """One run: update, loss per unit and variance at regular intervals."""
    change, warm_up, peak = VARIANTS[name]
    torch.manual_seed(seed)
    chance = random.Random(seed)
    network = Network(task.units, config)
    with torch.no_grad():
        change(network.encoder)
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / warm_up))
    found = [measure(task, network, 0)]
    for update in trange(1, updates + 1, desc=name, disable=None):
        features, lengths, units, counts = task.batch(chance.sample(task.train, BATCH))
        _, frames, log_probs = network(features, lengths)
        loss = ctc_loss(log_probs, frames, units, counts) / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        rates.step()
        if update % max(1, updates // REPORTS) == 0:
            found.append(measure(task, network, update))
    return found


@torch.no_grad()
def measure(task: Task, network: Network, update: int) -> dict[str, float]:
    """Loss and variance on the development part."""
    network.eval()
    features, lengths, units, counts = task.batch(task.dev)
    frames, numbers, log_probs = network(features, lengths)
    loss = float(ctc_loss(log_probs, numbers, units, counts) / counts.sum())
    spread = OutputSpread()
    for row, number in zip(frames, numbers.tolist(), strict=True):
        spread.add(row[:number])
    network.train()
    found = spread.measure()
    return {
        "update": update,
        "loss": loss,
        "variance": found.frames,
        "dimensions": found.dimensions,
    }


def table(runs: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: variance and loss in the course of each run."""
    updates = [int(point["update"]) for point in next(iter(runs.values()))][:: REPORTS // 4]
    head = " | ".join(f"{update}" for update in updates)
    lines = [f"| | {head} |", "| --- |" + " ---: |" * len(updates)]
    for name, points in runs.items():
        at = {int(point["update"]): point for point in points}
        cells = [f"{at[n]['variance']:.4f} ({at[n]['loss']:.2f})" for n in updates]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.collapse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data/es-en"), help="corpus (default: %(default)s)")
    add("--output", type=Path, default=Path("runs/collapse"), help="(default: %(default)s)")
    add("--corpus", default="asterisk", help="of the manifest (default: %(default)s)")
    add("--config", type=Path, default=CONFIG, help="network (default: %(default)s)")
    add("--units", type=int, help="of the transcripts (default: characters)")
    add("--updates", type=int, default=240, help="(default: %(default)s)")
    add("--seed", type=int, default=1, help="(default: %(default)s)")
    add("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run what was not run yet, and print."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    try:
        if args.config != CONFIG and args.variants != ["as shipped"]:
            raise ConfigError(
                f"the variants change parts of the network of {CONFIG}; with --config "
                f'{args.config} expected --variants "as shipped"'
            )
        task = Task([u for u in read_corpus(args.data) if u.corpus == args.corpus], args.units)
    except EchoStreamError as error:
        print(f"collapse: error: {error}", file=sys.stderr)
        return 1
    runs = {}
    for name in args.variants:
        parts = [name.replace(" ", "-"), str(args.updates), str(args.seed)]
        if args.config != CONFIG:
            parts.insert(0, args.config.stem)
        if args.units is not None:
            parts.append(f"{args.units}-units")
        kept = args.output / f"{'-'.join(parts)}.json"
        if not kept.exists():
            points = train(task, name, args.updates, args.seed, args.config)
            write_whole(kept, (json.dumps(points, indent=1) + "\n").encode())
        runs[name] = json.loads(kept.read_text())
    print(f"{len(task.train)} recordings to train on, {len(task.dev)} to measure")
    print("variance over frames (nats per unit) after so many updates:\n")
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
