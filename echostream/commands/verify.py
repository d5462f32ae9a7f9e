"""``echostream verify``: does streaming equal offline?"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.commands import add_settings, command
from echostream.errors import ConfigError
from echostream.verification.settings import PRECISIONS, Settings
from echostream.whole_file import write_whole

if TYPE_CHECKING:
    from echostream.verification.certificate import Certificate

QUICK = Settings(quick=True, seconds=3.0, trials=1)
"""Settings of ``--quick``."""

SETTINGS = {
    "backend": "all, torch, or one installed",
    "precision": "",
    "seed": "of all that is drawn",
    "tolerance": "largest difference of float32 numbers up to 1; larger ones may differ in "
    "proportion",
    "threads": "",
}
"""Those of :class:`Settings` whose default ``--quick`` leaves alone."""


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
    add("--source-language", metavar="CODE", help="of a checkpoint that knows several, such as es")
    add_settings(parser, defaults, SETTINGS, precision={"choices": PRECISIONS})
    lengths = {"seconds": "longest recording", "trials": "draws of each scenario"}
    for name, text in lengths.items():
        usual, quick = getattr(defaults, name), getattr(QUICK, name)
        add(f"--{name}", type=type(usual), help=f"{text} ({usual:g}; quick {quick:g})")
    add(
        "--scenario",
        action="append",
        metavar="NAME",
        help="only this one, may be given again; a wrong name is answered with all of them",
    )
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


@command("verify", build_parser, failure=2)
def main(args: argparse.Namespace) -> int:
    """Verify and print the certificate; 0 equal, 1 not equal, 2 wrong usage."""
    from echostream.verification.certificate import format_certificate

    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR, format="%(message)s")
    if args.output is not None and not args.output.absolute().parent.is_dir():
        raise ConfigError(
            f"--output is {args.output}, whose folder does not exist; expected an existing one"
        )
    certificate = _verified(args)
    if args.output is not None:
        write_whole(args.output, certificate.to_json())
    print(format_certificate(certificate), end="")
    return 0 if certificate.equal else 1


def _verified(args: argparse.Namespace) -> Certificate:
    import torch

    from echostream.session import SystemOptions
    from echostream.verification.verify import verify_system

    given = {name: getattr(args, name) for name in (*SETTINGS, "seconds", "trials")}
    settings = replace(
        QUICK if args.quick else Settings(),
        scenarios=tuple(args.scenario or ()),
        **{name: value for name, value in given.items() if value is not None},
    )
    torch.set_num_threads(settings.threads)
    options = SystemOptions(
        checkpoint=args.checkpoint,
        random_weights=args.random_weights,
        source_language=args.source_language,
    )
    return verify_system(options, settings, cache=args.cache)
