"""Which chunk size, left context and look-ahead a training batch is encoded with.

One model shall serve every chunk size, so they are drawn anew for each batch, from what the encoder
says it is trained with. The published chunk-Conformer draws too, but its attention mask is kept
from the longest batch so far and ignores what was drawn; see ``docs/training.md``.

The choices of both shipped encoders are the same in milliseconds: 160, 320 (three times as often as
the others, since it is what is used), 640 (twice), 1280, and the whole recording.
"""

import dataclasses
import random

from echostream.encoder.protocol import Encoder, TrainingChunks
from echostream.errors import ConfigError

WHOLE = "whole"  # how an option writes the whole recording

Chunking = dict[str, int | None]  # keyword arguments of an encoder's ``forward``


def choices_for(encoder: Encoder, chunk_sizes: str = "") -> TrainingChunks | None:
    """What to draw from; the option names chunk sizes in place of those usual for the encoder.

    Raises `ConfigError` for a value that the encoder cannot use.
    """
    usual = encoder.capabilities.training
    try:
        parts = [part.strip() for part in chunk_sizes.split(",") if part.strip()]
        sizes = tuple(None if part == WHOLE else int(part) for part in parts)
    except ValueError as error:
        raise ConfigError(
            f"chunk sizes are {chunk_sizes!r}; expected whole numbers and {WHOLE!r}, separated by "
            "commas"
        ) from error
    if sizes and usual is None:
        raise ConfigError(
            f"chunk sizes were given for {type(encoder).__name__}, whose training draws none; "
            "leave them out"
        )
    if usual is None or not sizes:
        return usual
    for size in sizes:
        encoder.init_state(1, chunk_size=size)  # which refuses what it cannot use
    largest = max((size for size in sizes if size is not None), default=None)
    first = tuple(size for size in dict.fromkeys((largest, None)) if size in sizes)
    return dataclasses.replace(usual, chunk_sizes=sizes, first_chunk_sizes=first)


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
