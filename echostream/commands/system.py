"""Options of the system for commands that translate, without importing what the system is made of.

The SimulEval agent has all of them; these are the ones that live use needs.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from echostream.constants import BACKENDS, PRECISIONS

if TYPE_CHECKING:
    from echostream.session import SystemOptions, Translator

_TEXTS = {
    "checkpoint": ("DIR", "folder or name of the checkpoint (tiny-es-en, which is shipped)"),
    "source_language": ("CODE", "such as es; needed by a checkpoint that knows several"),
    "target_language": ("CODE", "a checkpoint of another one is refused"),
    "policy": ("NAME", "when to write; `echostream list` has them (the checkpoint's)"),
    "policy_options": ("K=V,...", "such as k=3,stride=2"),
    "generator_options": ("K=V,...", "such as window_ms=15000"),
    "decoder": ("NAME", "CTC search (the checkpoint's)"),
    "decoder_options": ("K=V,...", "such as beam_size=4"),
}
_NUMBERS = {
    "chunk_ms": "audio that the encoder takes at once (the checkpoint's)",
    "pause_ms": "silence after which the last word is complete (400)",
    "threads": "CPU threads of the model (1)",
}
_CHOICES = {
    "task": (("s2tt", "asr"), "translate or transcribe (s2tt)"),
    "output_unit": (("word", "char"), "char for languages that do not separate words (word)"),
    "channel": (("mean", "left", "right"), "of stereo recordings (their mean)"),
    "backend": (BACKENDS, "what runs the encoder (torch)"),
    "precision": (PRECISIONS, "of the weights (float32)"),
}


def add_system_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them, in a group of their own; what is not given is left to the checkpoint."""
    add = parser.add_argument_group("the system").add_argument
    for name, (shown, text) in _TEXTS.items():
        add(_flag(name), metavar=shown, help=text)
    for name, text in _NUMBERS.items():
        add(_flag(name), type=int, metavar="N", help=text)
    for name, (choices, text) in _CHOICES.items():
        add(_flag(name), choices=choices, help=text)
    add("--device", default="cpu", help="cpu or cuda (%(default)s)")


def options_of(args: argparse.Namespace) -> SystemOptions:
    """The options that were given.

    Raises:
        ConfigError: if one is out of range.
    """
    from echostream.session.options import SystemOptions, read_options

    given = {name: getattr(args, name) for name in (*_TEXTS, *_NUMBERS, *_CHOICES)}
    return read_options(SystemOptions, given)


def translator_of(args: argparse.Namespace) -> Translator:
    """The translator of the options.

    Raises:
        CheckpointError: if the checkpoint is missing or damaged.
        ConfigError: if an option is wrong.
    """
    from echostream.session import build_translator

    return build_translator(options_of(args), args.device)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
