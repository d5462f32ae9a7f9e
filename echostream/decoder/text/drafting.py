"""The draft of a stream: tokens that are decoded and may still change.

A draft is greedy. A beam search goes over it where no more audio will come, and in a transcript
also where it is not sure; see :mod:`echostream.decoder.text.beam`.
"""

import dataclasses

from echostream.decoder.text import guards
from echostream.decoder.text.beam import NEWEST, BeamSearch, is_settled, num_certain
from echostream.decoder.text.search import Draft, GreedySearch, Speech
from echostream.decoder.text.state import TextState
from echostream.decoder.text.vocabulary import TextVocabulary


class Drafting:
    """How drafts grow; shared by streams.

    Args:
        search: of the decoder.
        vocabulary: its tokens.
        beam: hypotheses of a beam search; 1 for none.
        no_speech: probability of no speech from which on a draft is not gone on with.
        frames_per_second: of the source.
    """

    def __init__(
        self,
        search: GreedySearch,
        vocabulary: TextVocabulary,
        *,
        beam: int,
        no_speech: float,
        frames_per_second: int,
    ) -> None:
        self._search, self._vocabulary = search, vocabulary
        self._beam = BeamSearch(search, beam)
        self._no_speech = no_speech
        self._frames_per_second = frames_per_second

    def grow(self, state: TextState) -> bool:
        """One more token of the draft; False if there must be none."""
        draft, prefix = state.draft, state.prefix
        if len(draft.tokens) >= self.most(state):
            return False
        first = len(prefix.tokens) == state.prompt_tokens
        start = self._vocabulary.start_place(prefix.open) if first else None
        speech = _speech(state)
        self._search.grow(prefix, state.source, draft, first=first, speech=speech, start=start)
        return not guards.has_no_speech(draft, self._no_speech)

    def most(self, state: TextState) -> int:
        """Tokens that a draft may have: what can be said in the time, as far as there is room."""
        ahead = state.source.end - max(state.last_frame, state.source.base)
        most = 16 + 12 * ahead // self._frames_per_second
        return min(most, self._search.decoder.config.max_tokens - len(state.prefix.tokens) - 1)

    def searched(self, state: TextState) -> TextState:
        """The state with a draft to the end that a beam search found, if there is to be one."""
        if self._beam.width > 1 and state.source.num_frames and self.most(state) > 0:
            if not state.draft.tokens and self._search.asks_for_speech:
                self.grow(state)
            state = dataclasses.replace(state, draft=self._likelier(state, None))
        return state

    def consider(self, state: TextState) -> None:
        """Look for a likelier draft from where it is not sure; once with the same frames."""
        draft, until = state.draft, state.source.end - NEWEST
        if self._beam.width == 1 or draft.considered:
            return
        while not is_settled(draft.tokens, self._vocabulary.end, until):
            if not self.grow(state):
                break
        certain = num_certain(draft.tokens, until)
        if certain is None:
            draft.considered.append(True)
        else:
            draft.become(self._likelier(state, until, certain))

    def _likelier(self, state: TextState, until: int | None, certain: int = 0) -> Draft:
        """What a beam search finds behind the first ``certain`` tokens of the draft, with them."""
        return self._beam.find(
            state.prefix,
            state.source,
            most=self.most(state),
            first=len(state.prefix.tokens) == state.prompt_tokens,
            speech=_speech(state),
            until=until,
            draft=state.draft,
            certain=certain,
        )


def _speech(state: TextState) -> Speech:
    return Speech(state.last_frame, state.speech_end, state.finished)
