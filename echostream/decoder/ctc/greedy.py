"""Best-path CTC decoding (Graves et al. 2006, section 3.2).

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary (pieces and blank).

At each frame the most probable symbol is taken; runs of one symbol are collapsed and blanks
dropped. Both rules need nothing but the symbol of the frame before, so the carry over a call
boundary is that symbol and every emitted token is final at once.
"""

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from echostream.decoder.ctc.log_probs import CtcSearch
from echostream.decoder.ctc.protocol import DecoderOutput, Token, register, require_open


@dataclass(frozen=True)
class GreedyState:
    """Carry of one stream: constant in size."""

    last: int
    """Symbol of the last frame; the blank at the start."""
    num_frames: int = 0
    """Frames heard."""
    num_tokens: int = 0
    """Tokens emitted."""
    finished: bool = False


@register("greedy")
@dataclass(frozen=True)
class GreedyCtc(CtcSearch):
    """Best symbol of each frame, repeats collapsed; every token is final at once."""

    def __post_init__(self) -> None:
        self.check("decoder 'greedy'")

    def init_state(self) -> GreedyState:
        """State of a stream of which nothing has been heard."""
        return GreedyState(last=self.blank)

    def step(self, log_probs: Tensor, state: GreedyState) -> tuple[DecoderOutput, GreedyState]:
        """Collapse the next ``[T, V]`` frames; see :class:`Decoder`.

        Of equally probable symbols the lowest index wins. A frame in which no symbol is possible
        counts as blank.
        """
        require_open(state.finished)
        symbols = self.best_symbols(log_probs)
        tokens = []
        last = state.last
        for frame, symbol in enumerate(symbols, start=state.num_frames):
            if symbol not in (self.blank, last):
                tokens.append(Token(symbol, frame))
            last = symbol
        return DecoderOutput(stable=tuple(tokens)), GreedyState(
            last=last,
            num_frames=state.num_frames + len(symbols),
            num_tokens=state.num_tokens + len(tokens),
        )

    def flush(self, state: GreedyState) -> tuple[DecoderOutput, GreedyState]:
        """End of stream; there is never anything left."""
        return DecoderOutput(), dataclasses.replace(state, finished=True)
