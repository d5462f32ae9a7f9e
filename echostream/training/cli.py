"""``echostream train``: train the CTC heads and the encoder of a configuration."""

from __future__ import annotations

import argparse
import dataclasses
import io
import logging
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
import torch

from echostream.audio import Cmvn, FrontEnd
from echostream.config import load_config
from echostream.decoder.tokenizer import Tokenizer
from echostream.errors import DataError, EchoStreamError
from echostream.model import SpeechModel
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY
from echostream.training.corpus import Utterance, extract_features
from echostream.training.recipes.manifest import ManifestRow, read_manifest
from echostream.training.text import normalise
from echostream.training.trainer import Trainer, TrainingOptions

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream train``."""
    defaults = TrainingOptions()
    parser = argparse.ArgumentParser(
        prog="echostream train",
        description="Train a system with ASR CTC and ST CTC on the training part of a manifest. "
        "Stop it at any time: run the same command again and it goes on.",
    )
    parser.add_argument("config", type=Path, help="system to train, such as configs/tiny.yaml")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="folder with manifest.tsv (%(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/tiny"), help="checkpoint folder (%(default)s)"
    )
    parser.add_argument("--updates", type=int, default=defaults.updates, help="(%(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=defaults.minutes, help="stop after this wall time (none)"
    )
    parser.add_argument(
        "--max-frames",
        type=int,
        default=defaults.max_frames,
        help="feature frames of a batch, 100 a second (%(default)s)",
    )
    parser.add_argument("--peak-rate", type=float, default=defaults.peak_rate, help="(%(default)s)")
    parser.add_argument(
        "--solo-epochs",
        type=int,
        default=defaults.solo_epochs,
        help="epochs of the first stage, single utterances without masking (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="(%(default)s)")
    parser.add_argument(
        "--speeds",
        default="0.9,1.0,1.1",
        help="speed perturbation factors; 1.0 is added if missing (%(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 after a one-line error."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        train(args)
    except EchoStreamError as error:
        logger.error("error: %s", error)
        return 1
    return 0


def train(args: argparse.Namespace) -> None:
    """Load the data, train, leave a checkpoint in ``args.output``."""
    config = load_config(args.config)
    rows = [_normalised(row) for row in read_manifest(args.data / "manifest.tsv")]
    rows = [row for row in rows if row.src_text and row.tgt_text]
    train_rows = [row for row in rows if row.split == "train"]
    dev_rows = [row for row in rows if row.split == "dev"]
    if not train_rows:
        raise DataError(f"{args.data}/manifest.tsv has no row of the training part")
    args.output.mkdir(parents=True, exist_ok=True)
    source = vocabulary(
        args.output / SOURCE_VOCABULARY, (r.src_text for r in train_rows), config.asr_vocab_size
    )
    target = vocabulary(
        args.output / TARGET_VOCABULARY, (r.tgt_text for r in train_rows), config.st_vocab_size
    )

    speeds = [1.0, *(s for s in map(float, args.speeds.split(",")) if s != 1.0)]
    front_end = FrontEnd(None, lead_in_samples=config.audio.lead_in_samples)
    features = extract_features(train_rows, args.data, front_end, speeds)
    cmvn = Cmvn.estimate(versions[0] for versions in features)
    dev_features = extract_features(dev_rows, args.data, front_end, [1.0])

    torch.manual_seed(args.seed)
    model = SpeechModel(config)
    model.set_cmvn(cmvn)

    def utterances(rows: list[ManifestRow], features: list[tuple]) -> list[Utterance]:  # type: ignore[type-arg]
        return [
            Utterance(
                row,
                tuple(cmvn(version) for version in versions),
                tuple(source.encode(row.src_text)),
                tuple(target.encode(row.tgt_text)),
            )
            for row, versions in zip(rows, features, strict=True)
        ]

    options = TrainingOptions(
        updates=args.updates,
        minutes=args.minutes,
        peak_rate=args.peak_rate,
        max_frames=args.max_frames,
        solo_epochs=args.solo_epochs,
        seed=args.seed,
    )
    logger.info(
        "%.2fM parameters, %d training recordings (%.1f min), %d for development",
        model.num_parameters / 1e6,
        len(train_rows),
        sum(row.seconds for row in train_rows) / 60,
        len(dev_rows),
    )
    trainer = Trainer(model, source, target, args.output, options)
    trainer.resume()
    trainer.run(utterances(train_rows, features), utterances(dev_rows, dev_features))


def vocabulary(path: Path, texts: Iterable[str], size: int) -> Tokenizer:
    """The SentencePiece unigram model at ``path``, trained on ``texts`` if it is not there yet.

    Raises:
        DataError: if the texts do not give a vocabulary of that size.
    """
    if not path.exists():
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                model_type="unigram",
                character_coverage=1.0,
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f"cannot train a SentencePiece vocabulary of {size} units: {error}; change "
                "asr_vocab_size or st_vocab_size in the configuration"
            ) from error
        path.write_bytes(model.getvalue())
    return Tokenizer.from_file(path)


def _normalised(row: ManifestRow) -> ManifestRow:
    return dataclasses.replace(
        row, src_text=normalise(row.src_text), tgt_text=normalise(row.tgt_text)
    )
