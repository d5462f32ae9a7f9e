"""Which chunk size, left context and look-ahead a training batch is encoded with.

One model shall serve every chunk size, so they are drawn anew for each batch. The published
chunk-Conformer draws too, but its attention mask is kept from the longest batch so far and ignores
what was drawn; see ``docs/training.md``.

The choices of both encoders are the same in milliseconds: 160, 320 (three times as often as the
others, since it is what is used), 640 (twice), 1280, and the whole recording.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from echostream.baseline import WHOLE_RECORDING as CONFORMER_WHOLE
from echostream.config import ChunkConformerConfig, EncoderConfig, check_chunking
from echostream.encoder import WHOLE_RECORDING
from echostream.errors import ConfigError

WHOLE = "whole"
"""How an option writes the whole recording (chunk) or the whole chunk (look-ahead)."""

Chunking = dict[str, int | None]
"""Keyword arguments of an encoder's ``forward``."""


@dataclass(frozen=True)
class ChunkingChoices:
    """What is drawn from; a value that is given twice is drawn twice as often.

    Sizes are in encoder frames: 20 ms for the Zipformer, 40 ms for the chunk-Conformer. ``None``
    in ``chunk_sizes`` is the whole recording, in ``futures`` the whole chunk. ``left_contexts``
    and ``futures`` are the Zipformer's, ``conv_chunks`` the chunk-Conformer's.
    """

    chunk_sizes: tuple[int | None, ...]
    first_chunk_sizes: tuple[int | None, ...]
    left_contexts: tuple[int, ...] = ()
    futures: tuple[int | None, ...] = ()
    conv_chunks: tuple[int, ...] = ()


ZIPFORMER_CHOICES = ChunkingChoices(
    chunk_sizes=(8, 16, 16, 16, 32, 32, 64, None),
    first_chunk_sizes=(64, None),
    left_contexts=(64, 128),
    # The whole chunk is what the shipped configuration uses; the others are learned along with it.
    futures=(None, None, None, None, 0),
)
CONFORMER_CHOICES = ChunkingChoices(
    chunk_sizes=(4, 8, 8, 8, 16, 16, 32, None),
    first_chunk_sizes=(32, None),
    conv_chunks=(8, 16),
)


def choices_for(
    encoder: EncoderConfig | ChunkConformerConfig,
    chunk_sizes: str = "",
    left_contexts: str = "",
    futures: str = "",
) -> ChunkingChoices:
    """The choices of that encoder, with what the options name in place of the usual ones.

    Raises:
        ConfigError: for a value that the encoder cannot use.
    """
    if isinstance(encoder, ChunkConformerConfig):
        usual = CONFORMER_CHOICES
        if left_contexts or futures:
            raise ConfigError(
                "left contexts and look-ahead were given for a chunk-Conformer, which always "
                "attends to its whole past and chunk; leave them out"
            )
    else:
        usual = ZIPFORMER_CHOICES
    sizes = _numbers("chunk sizes", chunk_sizes) or usual.chunk_sizes
    choices = ChunkingChoices(
        chunk_sizes=sizes,
        first_chunk_sizes=tuple(_largest(sizes)) if chunk_sizes else usual.first_chunk_sizes,
        left_contexts=tuple(n for n in _numbers("left contexts", left_contexts) if n is not None)
        or usual.left_contexts,
        futures=_numbers("look-ahead", futures) or usual.futures,
        conv_chunks=usual.conv_chunks,
    )
    if isinstance(encoder, EncoderConfig):
        for size in choices.chunk_sizes:
            for context in choices.left_contexts:
                for future in choices.futures:
                    check_chunking(size or 8, context, future)
    return choices


def draw_chunking(choices: ChunkingChoices, chance: random.Random, first_stage: bool) -> Chunking:
    """One draw. In the first stage of training chunks are large (see ``docs/training.md``)."""
    size = chance.choice(choices.first_chunk_sizes if first_stage else choices.chunk_sizes)
    if choices.conv_chunks:
        # As published: a convolution chunk of its own, never more than the attention's.
        conv = chance.choice(choices.conv_chunks)
        return {
            "chunk_size": CONFORMER_WHOLE if size is None else size,
            "conv_chunk_size": conv if size is None else min(size, conv),
        }
    return {
        "chunk_size": WHOLE_RECORDING if size is None else size,
        "left_context": chance.choice(choices.left_contexts),
        "max_future_frames": chance.choice(choices.futures),
    }


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


def _largest(sizes: tuple[int | None, ...]) -> list[int | None]:
    finite = [size for size in sizes if size is not None]
    return ([max(finite)] if finite else []) + ([None] if None in sizes else [])
