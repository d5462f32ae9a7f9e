"""The system of commands that translate: of its options those that live use needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from echostream.system_arguments import ARGUMENTS, add_arguments

if TYPE_CHECKING:
    from echostream.session import SystemOptions, Translator

_NOT_LIVE = ("random_weights", "generator", "left_context_ms", "max_future_frames", "encoder_mode")
_NAMES = tuple(name for name in ARGUMENTS if name not in _NOT_LIVE)


def add_system_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them, in a group of their own; what is not given is left to the checkpoint."""
    add_arguments(parser, _NAMES)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")


def options_of(args: argparse.Namespace) -> SystemOptions:
    """The options that were given.

    Raises:
        ConfigError: if one is out of range.
    """
    from echostream.session.options import SystemOptions, read_options

    return read_options(SystemOptions, {name: getattr(args, name) for name in _NAMES})


def translator_of(args: argparse.Namespace) -> Translator:
    """The translator of the options.

    Raises:
        CheckpointError: if the checkpoint is missing or damaged.
        ConfigError: if an option is wrong.
    """
    from echostream.session import build_translator

    return build_translator(options_of(args), args.device)
