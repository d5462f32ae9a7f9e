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
    usual = encoder.capabilities.training
    sizes = _numbers("chunk sizes", chunk_sizes)
    given = {
        "left_context": _numbers("left contexts", left_contexts),
        "max_future_frames": _numbers("look-ahead", futures),
    }
    given = {name: values for name, values in given.items() if values}
    known = {} if usual is None else usual.others
    foreign = [name for name in given if name not in known]
    if foreign or (usual is None and sizes):
        raise ConfigError(
            f"values of {', '.join(foreign) or 'chunk_size'} were given for "
            f"{type(encoder).__name__}, whose training draws none; leave them out"
        )
    if usual is None or not (sizes or given):
        return usual
    choices = dataclasses.replace(
        usual,
        chunk_sizes=sizes or usual.chunk_sizes,
        first_chunk_sizes=_largest(sizes) if sizes else usual.first_chunk_sizes,
        others={**usual.others, **given},
    )
    tried = {name: set(choices.others[name]) for name in choices.others.keys() & given.keys()}
    for size in set(choices.chunk_sizes):
        encoder.init_state(1, chunk_size=size)
    for name, values in tried.items():
        for value in values:
            encoder.init_state(1, **{name: value})
    return choices


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
    try:
        return tuple(
            None if part.strip() == WHOLE else int(part) for part in text.split(",") if part.strip()
        )
    except ValueError as error:
        raise ConfigError(
            f"{what} are {text!r}; expected whole numbers and {WHOLE!r}, separated by commas"
        ) from error


def _largest(sizes: tuple[int | None, ...]) -> tuple[int | None, ...]:
    finite = [size for size in sizes if size is not None]
    return (*([max(finite)] if finite else []), *([None] if None in sizes else []))
