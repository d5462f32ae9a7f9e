"""``echostream language-model``: n-gram models of a checkpoint's transcripts and translations."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from echostream.errors import EchoStreamError

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream language-model``."""
    parser = argparse.ArgumentParser(
        prog="echostream language-model",
        description="Estimate n-gram models of transcripts and translations and put them into a "
        "checkpoint folder, where the decoder option lm_weight uses them.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, such as runs/tiny")
    for side in ("source", "target"):
        parser.add_argument(
            f"--{side}-arpa",
            type=Path,
            metavar="FILE",
            help=f"take this ARPA file (KenLM, SRILM; may be .gz) over the pieces of {side}.model "
            "and estimate none",
        )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="corpus whose training part is read (%(default)s)",
    )
    parser.add_argument(
        "--corpora",
        default="",
        metavar="CORPUS,...",
        help="read these corpora only, as those that the checkpoint was trained on (all)",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        help="texts.tsv of `echostream data --synthetic`, whose training side is added",
    )
    parser.add_argument(
        "--source-is-english", action="store_true", help="the speech is in English, not the text"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=1,
        help="how often a transcript counts for one sentence of --texts (%(default)s)",
    )
    parser.add_argument(
        "--only",
        choices=("source", "target"),
        help="make this model only, as where --texts are of use to one of them (both)",
    )
    parser.add_argument("--order", type=int, default=6, help="longest n-gram (%(default)s)")
    parser.add_argument(
        "--least-count",
        type=int,
        default=2,
        help="n-grams of three and more units seen less often are left out (%(default)s)",
    )
    parser.add_argument(
        "--weight",
        type=float,
        help="lm_weight of the checkpoint's search from now on (unchanged)",
    )
    parser.add_argument("--bonus", type=float, default=0.0, help="unit_bonus with it (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 after a one-line error."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from echostream.training.corpus.utterances import parse_corpora
    from echostream.training.language_model import (
        SIDES,
        import_arpa,
        make_language_models,
        set_weights,
    )

    try:
        given = {side: getattr(args, f"{side}_arpa") for side in SIDES}
        for side, path in given.items():
            if path is not None:
                import_arpa(args.checkpoint, side, path)
        if not any(given.values()):
            make_language_models(
                args.checkpoint,
                args.data,
                corpora=parse_corpora(args.corpora),
                texts=args.texts,
                source_is_english=args.source_is_english,
                repeat=args.repeat,
                order=args.order,
                least_count=args.least_count,
                sides=SIDES if args.only is None else (args.only,),
            )
        if args.weight is not None:
            set_weights(args.checkpoint, args.weight, args.bonus)
    except EchoStreamError as error:
        logger.error("error: %s", error)
        return 1
    return 0
