"""Which frames of a window see which, when all of its chunks are encoded at once.

Symbols: ``n`` frames of the window, ``m`` with copies, ``c`` frames of a chunk, ``r`` of its right
context.
"""

import torch
from torch import Tensor


def laid_out(frames: Tensor, chunk_size: int, right_context: int) -> tuple[Tensor, Tensor]:
    """Frames with a copy of the right context of each chunk, and what each of them sees.

    What is encoded as right context of a chunk sees as far as the chunk, and is seen by nothing
    else; the same frame in its own chunk sees further. So it stands twice (as in Emformer's
    training, Shi et al. 2020, arXiv 2010.10759).

    Args:
        frames: ``[n]`` int64, 0 to ``n - 1``.
        chunk_size: ``c``.
        right_context: ``r``.

    Returns:
        ``[m]`` int64, the frames and then the copies of some; ``[1, 1, m, m]`` bool, whether the
        first may look at the second.
    """
    chunk = frames // chunk_size
    chunks = chunk[::chunk_size, None]
    copied = (chunks + 1) * chunk_size + torch.arange(right_context, device=frames.device)
    there = copied < len(frames)
    copies = copied[there]
    of_chunk = torch.cat((chunk, chunks.expand_as(copied)[there]))
    is_copy = torch.arange(len(of_chunk), device=frames.device) >= len(frames)
    own, other = of_chunk[:, None], of_chunk[None, :]
    visible = (other == own) | ((other < own) & ~is_copy)
    return torch.cat((frames, copies)), visible[None, None]
