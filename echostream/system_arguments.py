"""The system's options on command lines, without importing what the system is made of."""

import argparse
from collections.abc import Iterable, Mapping

from echostream.config import CONFORMER_MODES
from echostream.constants import (
    BACKENDS,
    CHANNELS,
    CHUNK_MULTIPLE,
    ENCODER_FRAME_MS,
    OUTPUT_UNITS,
    PRECISIONS,
    TASKS,
)

_GROUP_MS = CHUNK_MULTIPLE * ENCODER_FRAME_MS
_OTHERS = "`echostream list` has them, package.module:Class names another (the checkpoint's)"

ARGUMENTS: Mapping[str, tuple[str | type[int] | tuple[str, ...], str]] = {
    "checkpoint": ("DIR", "folder or name of the checkpoint (tiny-es-en, which is shipped)"),
    "random_weights": ("YAML", "untrained model of this configuration instead of a checkpoint; for "
        "latency with --forced-target"),
    "task": (TASKS, "translate or transcribe (s2tt)"),
    "source_language": ("CODE", "such as es; needed by a checkpoint that knows several"),
    "target_language": ("CODE", "a checkpoint of another one is refused"),
    "policy": ("NAME", f"when to write; {_OTHERS}"),
    "policy_options": ("K=V,...", "such as k=3,stride=2"),
    "decoder": ("NAME", f"CTC search; {_OTHERS}"),
    "decoder_options": ("K=V,...", "such as beam_size=4"),
    "generator": ("NAME", "what makes words: ctc, transformer, or package.module:Class "
        "(transformer for a model with a text decoder, else ctc)"),
    "generator_options": ("K=V,...", "such as window_ms=15000"),
    "output_unit": (OUTPUT_UNITS, "char for languages that do not separate words (word)"),
    "pause_ms": (int, "silence after which the last word is complete; 0 for never (400; 300 for "
        "generator transformer)"),
    "channel": (CHANNELS, "of stereo recordings (the checkpoint's, usually their mean)"),
    "chunk_ms": (int, f"audio that the encoder takes at once, a multiple of {_GROUP_MS}, whatever "
        "the segments are (the checkpoint's)"),
    "left_context_ms": (int, f"earlier audio that attention sees, a multiple of {_GROUP_MS} (the "
        "checkpoint's)"),
    "right_context_ms": (int, "audio behind a chunk that it waits for and sees, of an encoder that "
        "has such: Whisper's (the checkpoint's)"),
    "max_future_frames": ("L", "look-ahead inside the chunk at each stack's rate: chunk, or a "
        "number, 0 for causal (the checkpoint's)"),
    "encoder_mode": (CONFORMER_MODES, "of the baseline's chunk-Conformer: with exact caches, or "
        "from the first sample at every segment, as published"),
    "backend": (BACKENDS, "what runs the encoder: torch, a compiled form of it, or auto for the "
        "fastest that is installed (torch)"),
    "precision": (PRECISIONS, "of the weights (float32)"),
    "threads": (int, "CPU threads of the model (1)"),
}  # fmt: skip
"""By field of ``SystemOptions``: metavar, choices or a number, and the help; defaults in brackets.
What is not given is ``None``."""


def add_arguments(parser: argparse.ArgumentParser, names: Iterable[str] = ARGUMENTS) -> None:
    """Add options of the system, in a group of their own."""
    add = parser.add_argument_group("the system").add_argument
    for name in names:
        kind, text = ARGUMENTS[name]
        if isinstance(kind, str):
            add(flag(name), metavar=kind, help=text)
        elif isinstance(kind, tuple):
            add(flag(name), choices=kind, help=text)
        else:
            add(flag(name), type=kind, metavar="N", help=text)


def flag(name: str) -> str:
    """A field as the command line has it."""
    return "--" + name.replace("_", "-")
