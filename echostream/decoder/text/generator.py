"""The generator of an autoregressive text decoder: the next word is made when somebody asks.

Symbols: ``n`` encoder frames of a chunk, ``C`` encoder channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.candidates import Candidates
from echostream.decoder.generator import EncodedChunk, GeneratorParts, register
from echostream.decoder.repetition import RepetitionGuard, RepetitionState
from echostream.decoder.text import guards
from echostream.decoder.text.draft_words import DraftWords
from echostream.decoder.text.drafting import Drafting
from echostream.decoder.text.search import Draft, GreedySearch, Prefix
from echostream.decoder.text.segments import LEAD_IN, Speaking, parts_of
from echostream.decoder.text.source import appended, dropped
from echostream.decoder.text.state import DraftWord, TextState
from echostream.decoder.text.vocabulary import TextVocabulary, WhisperVocabulary
from echostream.decoder.text.window import WrittenWord, cut, ends_sentence, latest_cut
from echostream.decoder.words import Word
from echostream.errors import ConfigError
from echostream.registry import check_options, option

PAUSE_MS = 300
"""Silence that ends a segment; see docs/whisper.md."""


@register("transformer")
@dataclass(eq=False, repr=False)
class TransformerGenerator:
    """A text decoder with kept state; words are tentative until they are written.

    Where the decoder has a head that tells speech, a pause of ``--pause-ms`` ends a segment.

    ``parts`` are the decoder, its vocabulary, the language and the task; the other fields are
    options.

    Raises:
        ConfigError: without a text decoder, or if an option is out of range.
    """

    heads: ClassVar[tuple[str, ...]] = ()
    on_demand: ClassVar[bool] = True

    parts: InitVar[GeneratorParts]
    window_ms: int | None = option(
        int,
        "audio that the decoder looks at, at most (two thirds of what it can look at: 20 s)",
        default=None,
        minimum=1,
    )
    history: int = option(
        int, "tokens before the window that are the prompt", default=30, minimum=0
    )
    max_repeats: int = option(
        int, "copies of a phrase in a row that are let through", default=3, minimum=2
    )
    beam: int | None = option(
        int,
        "hypotheses for what is left when frames leave or a segment ends, and in a transcript "
        "where the greedy draft is not sure; 1 is greedy (2 in a transcript, 1 in a translation)",
        default=None,
        minimum=1,
    )
    no_speech: float = option(
        float,
        "without a head that detects speech: probability of no speech from which on an unlikely "
        "first word is not written",
        default=0.6,
        minimum=0,
    )

    def __post_init__(self, parts: GeneratorParts) -> None:
        decoder = parts.text_decoder
        if decoder is None or parts.text_tokenizer is None:
            raise ConfigError(
                "generator 'transformer' needs a text decoder and its vocabulary, and the "
                "checkpoint has none; expected --generator ctc for it"
            )
        check_options(self, "generator 'transformer'")
        config = decoder.config
        # A translation may leave the order in which things are said, and look back.
        self._is_transcript = parts.task == "asr"
        self._window = config.max_source * 2 // 3
        if self.window_ms is not None:
            self._window = self.window_ms // parts.frame_ms
        if not 2 <= self._window <= config.max_source:
            raise ConfigError(
                f"window_ms is {self.window_ms}; expected {2 * parts.frame_ms} to "
                f"{config.max_source * parts.frame_ms}, what the text decoder can look at"
            )
        self._decoder = decoder
        self._rows = decoder.source_position_rows()
        self.vocabulary = (
            WhisperVocabulary(
                parts.text_tokenizer, parts.source_language, parts.task, parts.output_unit
            )
            if isinstance(parts.text_tokenizer, ByteLevelTokenizer)
            else TextVocabulary(parts.text_tokenizer, parts.output_unit)
        )
        # Half of the positions at most are left to the words of one window.
        self._history = min(self.history, config.max_tokens // 4)
        self._most_tokens = config.max_tokens // 2
        self._pause = parts.pause_frames(PAUSE_MS)
        self.guard = RepetitionGuard(self.max_repeats)
        self.search = GreedySearch(
            decoder,
            end=self.vocabulary.end,
            suppressed=self.vocabulary.suppressed,
            suppressed_first=self.vocabulary.suppressed_first,
            # A head that tells speech knows better than the decoder, which is not asked then.
            no_speech=None if config.voice_activity else self.vocabulary.no_speech,
            sentence_ends=self.vocabulary.sentence_ends,
        )
        self.drafting = Drafting(
            self.search,
            self.vocabulary,
            beam=self.beam or (2 if self._is_transcript else 1),
            no_speech=self.no_speech,
            frames_per_second=1000 // parts.frame_ms,
        )

    def init_state(self) -> TextState:
        """A stream of which nothing has been heard."""
        prompt = self.vocabulary.prompt(())
        return TextState(self.search.start(prompt), len(prompt))

    @torch.no_grad()
    def observe(self, chunk: EncodedChunk, state: TextState) -> TextState:
        """Make keys and values of the frames; frames leave if there are too many."""
        frames = chunk.frames
        for part in parts_of(self._decoder.has_speech(frames), state.speaking, self._pause):
            state = dataclasses.replace(state, speaking=part.after)
            state = self._heard(frames[part.begin : part.end], state)
            if part.is_last:
                state = self._segment_written(state)
            elif not part.after.has_begun:
                end = state.source.end
                source = dropped(state.source, end - LEAD_IN, self._rows)
                state = dataclasses.replace(state, source=source, draft=Draft(), last_turn=end)
        return state

    def _heard(self, frames: Tensor, state: TextState) -> TextState:
        """The state with more frames ``[n, C]``."""
        is_stalled = guards.is_stalled(state) or (
            self._is_transcript and guards.only_looks_back(state)
        )
        begin = state.last_frame + 1
        made = self._decoder.source(frames)
        state = dataclasses.replace(
            state,
            source=appended(state.source, made, self._rows),
            draft=self.search.outdated(state.draft),
            without_speech=state.without_speech + guards.has_no_speech(state.draft, self.no_speech),
        )
        if is_stalled:
            return self._begun_anew(state, begin)
        written = len(state.prefix.tokens) - state.prompt_tokens
        if state.source.num_frames > self._window or written > self._most_tokens:
            return self._shortened(self._settled(state))
        return state

    def _segment_written(self, state: TextState) -> TextState:
        """All words of a segment commit, and the decoder begins anew."""
        state = self.finish(state)
        words = self._words(state)
        found = words.first(len(words))
        state = self._with(found, state)
        waiting = (*state.waiting, *(each.word for each in found))
        state = dataclasses.replace(state, waiting=waiting, speaking=Speaking(), finished=False)
        return self._begun_anew(state, state.source.end - LEAD_IN)

    def candidates(self, state: TextState) -> tuple[Candidates, TextState]:
        """Words that are decoded when they are asked for."""
        words = self._words(state)
        waiting = state.waiting
        return Candidates(waiting, words, paused=bool(waiting), on_demand=True), state

    def _words(self, state: TextState) -> DraftWords:
        find = functools.partial(self.next_word, state)
        return DraftWords(find, self.guard, state.repetition)

    def commit(self, count: int, state: TextState) -> tuple[tuple[Word, ...], TextState]:
        """Write the first ``count`` of them."""
        waiting = state.waiting[:count]
        state = dataclasses.replace(state, waiting=state.waiting[len(waiting) :])
        words = self._words(state).first(count - len(waiting)) if count > len(waiting) else []
        return (*waiting, *(each.word for each in words)), self._with(words, state)

    def _with(self, words: Sequence[DraftWord], state: TextState) -> TextState:
        """The state with the first words of its draft in the prefix."""
        if not words:
            return state
        number = words[-1].end
        prefix, draft = self.search.committed(state.prefix, state.draft, number, state.source)
        begins = (0, *(each.end for each in words))
        written = tuple(
            WrittenWord(each.end - begin, each.word.frame, ends_sentence(each.word.text))
            for begin, each in zip(begins, words, strict=False)
        )
        return dataclasses.replace(
            state,
            prefix=prefix,
            draft=draft,
            written=state.written + written,
            num_tokens=state.num_tokens + number,
            last_frame=max(state.last_frame, *(each.word.frame for each in words)),
            last_turn=state.source.end,
            repetition=words[-1].repetition,
        )

    def _settled(self, state: TextState) -> TextState:
        """Commit the words about frames that may leave, if the policy has let them wait."""
        latest = latest_cut(state.source.base, state.source.end)
        state = self.drafting.searched(state)
        draft, words = self._words(state), 0
        while len(found := draft.first(words + 1)) > words and found[words].word.frame < latest:
            words += 1
        taken = draft.first(words)
        return dataclasses.replace(
            self._with(taken, state), waiting=(*state.waiting, *(each.word for each in taken))
        )

    def finish(self, state: TextState) -> TextState:
        """Every word to the end of the text is complete."""
        state = dataclasses.replace(self.drafting.searched(state), finished=True)
        if not self._is_transcript or not guards.leaves_out(state, state.last_frame):
            return state
        words = self._words(state)
        found = words.first(len(words))
        reached = max((state.last_frame, *(each.word.frame for each in found)))
        if not guards.leaves_out(state, reached):
            return state
        # The decoder ends too early, or says again what it has said: the rest is another text.
        waiting = (*state.waiting, *(each.word for each in found))
        state = dataclasses.replace(self._with(found, state), waiting=waiting)
        state = self._begun_anew(state, reached + 1)
        return dataclasses.replace(self.drafting.searched(state), finished=True)

    def at_hand(self, state: TextState) -> tuple[str, ...]:
        """The words of the draft as far as it was decoded."""
        words: list[list[int]] = []
        for token in state.draft.tokens:
            if token.id == self.vocabulary.end:
                break
            if not words or self.vocabulary.starts_word(token.id):
                words.append([])
            words[-1].append(token.id)
        waiting = (word.text for word in state.waiting)
        return (*waiting, *filter(None, map(self.vocabulary.text, words)))

    def counters(self, state: TextState) -> Mapping[str, int]:
        """Frames and tokens, and what the guards did."""
        return {
            "source_tokens": state.source.end,
            "target_tokens": state.num_tokens,
            "words_dropped": state.repetition.dropped,
            "chunks_without_speech": state.without_speech,
            "windows_cut": state.num_cuts,
        }

    def next_word(self, state: TextState, found: Sequence[DraftWord]) -> DraftWord | None:
        """The word of the draft after those that were found; ``None`` if there is none."""
        if not state.source.num_frames or not state.speaking.has_begun:
            return None
        draft, begin = state.draft, found[-1].end if found else 0
        if self._is_transcript:
            self.drafting.consider(state)
        place = begin
        while True:
            while len(draft.tokens) <= place:
                if not self.drafting.grow(state):
                    return None
            tokens = draft.tokens[begin:place]
            ids, following = [token.id for token in tokens], draft.tokens[place].id
            if self.vocabulary.completes(ids, following):
                break
            if following == self.vocabulary.end:
                return None
            place += 1
        furthest = max((state.last_frame, *(each.word.frame for each in found)))
        if guards.is_invented(tokens, furthest, state):
            return None
        frame = guards.looked_at(tokens, state.source.end)
        log_prob = sum(token.log_prob for token in tokens)
        text = self.vocabulary.text(ids)
        return DraftWord(Word(text, state.num_tokens + place, frame, log_prob), place)

    def _shortened(self, state: TextState) -> TextState:
        """Drop old frames, and make the words before them the prompt."""
        source = state.source
        base, count = cut(source.base, source.end, state.written)
        text = state.prefix.tokens[state.prompt_tokens :]
        leaving = sum(word.num_tokens for word in state.written[:count])
        history = self._recent(state, text[:leaving], count)
        if state.last_frame < base:
            # Nothing was said of what is kept: what was said before may be what stands in the way.
            history = ()
        prompt = self.vocabulary.prompt(history)
        tokens = prompt + text[leaving:]
        source = dropped(source, base, self._rows)
        kept = len(text) - leaving
        # What follows the prompt is fixed once a word follows it; earlier words are, at once.
        views = state.prefix.views[-(kept - 1) :] if kept > 1 else ()
        fixed = len(tokens) - 1 if kept else self.vocabulary.start_place(prompt)
        views = (source.end,) * (fixed - len(views)) + views
        before = Prefix(tokens, state.prefix.past, views, state.prefix.looked)
        prefix = self.search.remade(before, source)
        return dataclasses.replace(
            state,
            prefix=prefix,
            prompt_tokens=len(prompt),
            source=source,
            draft=Draft(state.draft.stale),
            written=state.written[count:],
            history=history,
            num_cuts=state.num_cuts + 1,
            last_turn=source.end,
        )

    def _begun_anew(self, state: TextState, begin: int) -> TextState:
        """The state without its text and without the frames before ``begin``."""
        source = state.source
        base = min(max(source.base, begin), source.end - 1)
        prompt = self.vocabulary.prompt(())
        return dataclasses.replace(
            state,
            prefix=self.search.start(prompt),
            prompt_tokens=len(prompt),
            source=dropped(source, base, self._rows),
            draft=Draft(),
            written=(),
            history=(),
            num_cuts=state.num_cuts + 1,
            last_frame=max(state.last_frame, base),
            last_turn=source.end,
            repetition=RepetitionState(dropped=state.repetition.dropped),
        )

    def _recent(self, state: TextState, leaving: tuple[int, ...], count: int) -> tuple[int, ...]:
        """Tokens of the last words before the window."""
        tokens = state.history + leaving
        surplus = len(tokens) - self._history
        if surplus <= 0:
            return tokens
        while surplus < len(tokens) and not self.vocabulary.starts_word(tokens[surplus]):
            surplus += 1
        return tokens[surplus:]
