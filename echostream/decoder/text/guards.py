"""When a text decoder is not believed, and when it begins anew.

It invents words where it is not sure, and says again in a circle what it has said. What was said of
earlier speech is what circles are made of.
"""

from collections.abc import Sequence

from echostream.decoder.text.search import Draft, DraftToken
from echostream.decoder.text.state import TextState

GROUNDED = 0.8
"""Tokens of which more attention goes to silence are not about what was heard."""

UNSURE = -2.0
"""Log-probability of a first token below which a window without speech is believed to have none.
A short word is often taken for no speech, but the decoder is sure of it; Whisper, too, asks for
both (``logprob_threshold``, of a whole segment)."""

PAUSE = 60
"""So many frames between words are a pause."""

WORD = 25
"""So many frames behind the one that a word looked at it has ended."""

STALLED = 250
"""After so many frames without a new word the decoder begins anew."""

BEGINS_ANEW = frozenset({"asr"})
"""Tasks whose decoder begins anew after a sentence, before a pause and in a circle, too. A
translation is better for what was said before."""

REWOUND = 200
"""A word that looks so many frames further back than another before it is said again in a circle
(the rewinding of SimulStreaming, arXiv 2506.17077)."""

REWOUND_BEFORE_ANEW = 25
"""The same where the decoder then begins anew."""


def looked_at(tokens: Sequence[DraftToken], end: int) -> int:
    """The encoder frame of a word: the last one that a token of it looked at most.

    A word whose tokens look at the silence that follows is about what will be heard, if it is about
    anything, and has the frame that comes next.
    """
    heard = [token.frame for token in tokens if token.silent <= GROUNDED]
    return max(heard, default=end)


def is_invented(
    tokens: Sequence[DraftToken], furthest: int, state: TextState, begins_anew: bool
) -> bool:
    """Whether a word is about nothing that was heard, or is said again.

    Args:
        tokens: of the word.
        furthest: frame that a word before it looked at.
        state: of the stream.
        begins_anew: whether the task is one of :data:`BEGINS_ANEW`.
    """
    if state.finished and all(token.silent > GROUNDED for token in tokens):
        return True
    way_back = REWOUND_BEFORE_ANEW if begins_anew and not state.finished else REWOUND
    return looked_at(tokens, state.source.end) < furthest - way_back


def has_no_speech(draft: Draft, least: float) -> bool:
    """Whether the decoder says, with at least that probability, that nothing is spoken in a window
    without words so far, and does not know what it would say."""
    if not draft.no_speech or not draft.tokens:
        return False
    return draft.no_speech[0] > least and draft.tokens[0].log_prob < UNSURE


def new_begin(draft: Sequence[DraftToken], state: TextState, begins_anew: bool) -> int | None:
    """The frame from which on the decoder begins anew, if it is time for that.

    Args:
        draft: what it would say now, without the end of the text.
        state: of the stream.
        begins_anew: whether the task is one of :data:`BEGINS_ANEW`.
    """
    if not state.draft.tokens or not (state.written or state.history):
        return None
    end, last = state.source.end, state.last_frame
    stalled = last + 1 if end - state.last_turn > STALLED else None
    if not begins_anew:
        return stalled
    ahead = (draft[0].frame if draft and draft[0].silent <= GROUNDED else end) - last
    is_sentence = bool(state.written) and state.written[-1].ends_sentence and ahead > 0
    if state.written and (is_sentence or ahead >= PAUSE):
        return last + 1 + min(ahead // 2, WORD)
    circles = bool(draft) and max(each.frame for each in draft) < last - REWOUND_BEFORE_ANEW
    return last + 1 if circles else stalled
