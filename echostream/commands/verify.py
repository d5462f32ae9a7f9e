"""``echostream verify``: does streaming equal offline?"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.errors import ConfigError, EchoStreamError
from echostream.verification.settings import PRECISIONS, Settings

if TYPE_CHECKING:
    from echostream.verification.certificate import Certificate

QUICK = Settings(quick=True, seconds=3.0, trials=1)
"""Settings of ``--quick``."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="echostream verify",
        description="Compare streams with offline runs of the same audio, module by module, over "
        "random cuts, batches, silence, one-sample segments, saved and restored streams, in every "
        "backend and precision that is installed. Exit status: 0 equal, 1 not, 2 usage.",
    )
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="checkpoint folder (default: the one shipped)",
    )
    add("--random-weights", metavar="YAML", help="an untrained model of this configuration")
    add("--backend", default=defaults.backend, help="all, torch, or one installed (%(default)s)")
    add("--precision", choices=PRECISIONS, default=defaults.precision, help="(%(default)s)")
    add(
        "--seconds",
        type=float,
        help=f"longest recording ({defaults.seconds:g}; quick {QUICK.seconds:g})",
    )
    add(
        "--trials",
        type=int,
        help=f"draws of each scenario ({defaults.trials}; quick {QUICK.trials})",
    )
    add(
        "--scenario",
        action="append",
        metavar="NAME",
        help="only this one, may be given again; a wrong name is answered with all of them",
    )
    add("--seed", type=int, default=defaults.seed, help="of all that is drawn (%(default)s)")
    add(
        "--tolerance",
        type=float,
        default=defaults.tolerance,
        help="largest difference of float32 numbers up to 1; larger ones may differ in proportion "
        "(%(default)s)",
    )
    add("--threads", type=int, default=defaults.threads, help="(%(default)s)")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="exported graphs of compiled backends (default: the checkpoint's own)",
    )
    add(
        "--quick",
        action="store_true",
        help="one draw of each scenario, shorter audio, and of the compiled backends the fastest",
    )
    add("--output", type=Path, metavar="FILE.json", help="write the certificate here too")
    add("--verbose", action="store_true", help="say on standard error what is being done")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Verify and print the certificate; 0 equal, 1 not equal, 2 wrong usage."""
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed its message, or the help
        return stop.code if isinstance(stop.code, int) else 2
    from echostream.verification.printed import format_certificate

    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR, format="%(message)s")
    try:
        if args.output is not None and not args.output.absolute().parent.is_dir():
            raise ConfigError(
                f"--output is {args.output}, whose folder does not exist; expected an existing one"
            )
        certificate = _verified(args)
    except EchoStreamError as error:
        print(f"echostream verify: error: {error}", file=sys.stderr)
        return 2
    if args.output is not None:
        args.output.write_text(certificate.to_json(), encoding="utf-8")
    print(format_certificate(certificate), end="")
    return 0 if certificate.equal else 1


def _verified(args: argparse.Namespace) -> Certificate:
    import torch

    from echostream.session import SystemOptions
    from echostream.verification.verify import verify_system

    preset = QUICK if args.quick else Settings()
    settings = Settings(
        backend=args.backend,
        precision=args.precision,
        quick=args.quick,
        seconds=preset.seconds if args.seconds is None else args.seconds,
        scenarios=tuple(args.scenario or ()),
        trials=preset.trials if args.trials is None else args.trials,
        seed=args.seed,
        tolerance=args.tolerance,
        threads=args.threads,
    )
    torch.set_num_threads(settings.threads)
    options = SystemOptions(checkpoint=args.checkpoint, random_weights=args.random_weights)
    return verify_system(options, settings, cache=args.cache)
