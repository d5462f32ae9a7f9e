"""Which chunk size, left context and look-ahead a training batch is encoded with.

One model shall serve every chunk size, so they are drawn anew for each batch, from what the encoder
says it is trained with. The published chunk-Conformer draws too, but its attention mask is kept
from the longest batch so far and ignores what was drawn; see ``docs/training.md``.

The choices of both shipped encoders are the same in milliseconds: 160, 320 (three times as often as
the others, since it is what is used), 640 (twice), 1280, and the whole recording.
"""

from __future__ import annotations

import dataclasses
import random

from echostream.encoder.protocol import Encoder, TrainingChunks
from echostream.errors import ConfigError

WHOLE = "whole"
"""How an option writes the whole recording (chunk) or the whole chunk (look-ahead)."""

Chunking = dict[str, int | None]
"""Keyword arguments of an encoder's ``forward``."""


def choices_for(
    encoder: Encoder, chunk_sizes: str = "", left_contexts: str = "", futures: str = ""
) -> TrainingChunks | None:
    """What to draw from, with what the options name in place of what is usual for the encoder.

    Raises:
        ConfigError: for a value that the encoder cannot use.
    """
    options = {
        "chunk_size": _numbers("chunk sizes", chunk_sizes),
        "left_context": _numbers("left contexts", left_contexts),
        "max_future_frames": _numbers("look-ahead", futures),
    }
    given = {name: values for name, values in options.items() if values}
    usual = encoder.capabilities.training
    known = () if usual is None else ("chunk_size", *usual.others)
    foreign = [name for name in given if name not in known]
    if foreign:
        raise ConfigError(
            f"values of {', '.join(foreign)} were given for {type(encoder).__name__}, whose "
            "training draws none; leave them out"
        )
    if usual is None or not given:
        return usual
    for name, values in given.items():
        for value in values:
            encoder.init_state(1, **{name: value})  # which refuses what it cannot use
    sizes = given.pop("chunk_size", ())
    if sizes:
        largest = max((size for size in sizes if size is not None), default=None)
        first = tuple(size for size in dict.fromkeys((largest, None)) if size in sizes)
        usual = dataclasses.replace(usual, chunk_sizes=sizes, first_chunk_sizes=first)
    return dataclasses.replace(usual, others={**usual.others, **given})


def draw_chunking(
    choices: TrainingChunks | None, chance: random.Random, first_stage: bool
) -> Chunking:
    """One draw. In the first stage of training chunks are large (see ``docs/training.md``)."""
    if choices is None:
        return {}
    size = chance.choice(choices.first_chunk_sizes if first_stage else choices.chunk_sizes)
    drawn: Chunking = {"chunk_size": choices.whole if size is None else size}
    for name, values in choices.others.items():
        value = chance.choice(values)
        if name in choices.within_chunk and size is not None and value is not None:
            value = min(size, value)
        drawn[name] = value
    return drawn


def _numbers(what: str, text: str) -> tuple[int | None, ...]:
    """``16,32,whole`` to ``(16, 32, None)``."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(None if part == WHOLE else int(part) for part in parts)
    except ValueError as error:
        raise ConfigError(
            f"{what} are {text!r}; expected whole numbers and {WHOLE!r}, separated by commas"
        ) from error
