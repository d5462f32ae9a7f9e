"""``echostream language-model``: n-gram models of a checkpoint's transcripts and translations."""

import argparse
import logging
from pathlib import Path

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream language-model``."""
    parser = argparse.ArgumentParser(
        prog="echostream language-model",
        description="Estimate n-gram models of transcripts and translations and put them into a "
        "checkpoint folder, where the decoder option lm_weight uses them.",
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint folder, such as runs/tiny")
    for side in ("source", "target"):
        add(
            f"--{side}-arpa",
            type=Path,
            metavar="FILE",
            help=f"take this ARPA file (KenLM, SRILM; may be .gz) over the pieces of {side}.model "
            "and estimate none",
        )
    add(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="corpus whose training part is read (%(default)s)",
    )
    add(
        "--corpora",
        default="",
        metavar="CORPUS,...",
        help="read these corpora only, as those that the checkpoint was trained on (all)",
    )
    add(
        "--texts",
        type=Path,
        help="texts.tsv of `echostream data --synthetic`, whose training side is added",
    )
    add("--source-is-english", action="store_true", help="the speech is in English, not the text")
    add(
        "--repeat",
        type=int,
        default=1,
        help="how often a transcript counts for one sentence of --texts (%(default)s)",
    )
    add(
        "--only",
        choices=("source", "target"),
        help="make this model only, as where --texts are of use to one of them (both)",
    )
    add("--order", type=int, default=6, help="longest n-gram (%(default)s)")
    add(
        "--least-count",
        type=int,
        default=2,
        help="n-grams of three and more units seen less often are left out (%(default)s)",
    )
    add(
        "--weight",
        type=float,
        help="lm_weight of the checkpoint's search from now on (unchanged)",
    )
    add("--bonus", type=float, default=0.0, help="unit_bonus with it (%(default)s)")
    return parser


@command("language-model", build_parser)
def main(args: argparse.Namespace) -> None:
    """Estimate or import the models."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from echostream.training.corpus.utterances import parse_names
    from echostream.training.language_model import (
        SIDES,
        import_arpa,
        make_language_models,
        set_weights,
    )

    given = {side: getattr(args, f"{side}_arpa") for side in SIDES}
    for side, path in given.items():
        if path is not None:
            import_arpa(args.checkpoint, side, path)
    if not any(given.values()):
        make_language_models(
            args.checkpoint,
            args.data,
            corpora=parse_names(args.corpora),
            texts=args.texts,
            source_is_english=args.source_is_english,
            repeat=args.repeat,
            order=args.order,
            least_count=args.least_count,
            sides=SIDES if args.only is None else (args.only,),
        )
    if args.weight is not None:
        set_weights(args.checkpoint, args.weight, args.bonus)
