"""When a text decoder is not believed, and when it begins anew.

It invents words where it is not sure, and says again in a circle what it has said.
"""

from collections.abc import Sequence

from echostream.decoder.repetition import MAX_PERIOD, RepetitionState
from echostream.decoder.text.search import Draft, DraftToken
from echostream.decoder.text.state import TextState

GROUNDED = 0.8
"""Tokens of which more attention goes to silence are not about what was heard."""

UNSURE = -2.0
"""Log-probability of a first token below which a window without speech is believed to have none.
A short word is often taken for no speech, but the decoder is sure of it; Whisper, too, asks for
both (``logprob_threshold``, of a whole segment)."""

LEFT_OUT = 60
"""Frames with speech at an end that no word is about are a text of their own."""

STALLED = 250
"""After so many frames without a new word the decoder begins anew."""

REWOUND = 50
"""A word that looks so many frames further back than another before it is said again in a circle
(the rewinding of SimulStreaming, arXiv 2506.17077)."""

REWINDING = 30
"""So long a decoder may draft such a word and nothing else before it begins anew."""

FEW_WORDS = 5
"""So few different words among the last :data:`~echostream.decoder.repetition.MAX_PERIOD` of a
segment are a circle that is no exact one."""


def looked_at(tokens: Sequence[DraftToken], end: int) -> int:
    """The encoder frame of a word: the last one that a token of it looked at most.

    A word whose tokens look at the silence that follows is about what will be heard, if it is about
    anything, and has the frame that comes next.
    """
    heard = [token.frame for token in tokens if token.silent <= GROUNDED]
    return max(heard, default=end)


def is_invented(tokens: Sequence[DraftToken], furthest: int, state: TextState) -> bool:
    """Whether a word is about nothing that was heard, or is said again.

    Args:
        tokens: of the word.
        furthest: frame that a word before it looked at.
        state: of the stream.
    """
    if state.finished and all(token.silent > GROUNDED for token in tokens):
        return True
    return looked_at(tokens, state.source.end) < furthest - REWOUND


def goes_in_a_circle(repetition: RepetitionState) -> bool:
    """Whether the last words are a few ones again and again, in whatever order."""
    recent = repetition.recent
    return len(recent) == MAX_PERIOD and len(set(recent)) <= FEW_WORDS


def has_no_speech(draft: Draft, least: float) -> bool:
    """Whether the decoder says, with at least that probability, that nothing is spoken in a window
    without words so far, and does not know what it would say."""
    if not draft.no_speech or not draft.tokens:
        return False
    return draft.no_speech[0] > least and draft.tokens[0].log_prob < UNSURE


def leaves_out(state: TextState, reached: int) -> bool:
    """Whether there is speech behind the frame that words reach, as long as a text."""
    return state.source.num_frames > 0 and state.speech_end - reached > LEFT_OUT


def is_stalled(state: TextState) -> bool:
    """Whether the decoder has words to say and has said none for long."""
    said = bool(state.draft.tokens) and bool(state.written or state.history)
    return said and state.source.end - state.last_turn > STALLED


def only_looks_back(state: TextState) -> bool:
    """Whether a transcript would go on far behind what is written, and has done so for a while."""
    if not state.draft.tokens or not state.written:
        return False
    rewinds = state.draft.tokens[0].frame < state.last_frame - REWOUND
    return rewinds and state.source.end - state.last_turn > REWINDING
