"""Greedy search of a text decoder: what is committed, and a draft of what could come next.

Symbols: ``L`` layers, ``H`` attention heads, ``d`` channels of a head, ``V`` vocabulary, ``A``
alignment heads, ``T`` encoder frames in the window; *fixed* tokens are those whose successor is
committed.

The keys and values of a fixed token are those that were made with the source as it was when its
successor was committed, and never change. All later tokens are made again when new frames have
come: a draft is verified in one call, as in speculative decoding, and goes on where it differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from echostream.decoder.text.alignment import Look, Looked, looks_of
from echostream.decoder.text.source import Source
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.errors import CheckpointError


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens of one stream that are committed; bounded by whoever makes it anew."""

    tokens: tuple[int, ...]
    """Prompt and text, at least one."""
    past: Tensor
    """``[L, 2, H, fixed, d]`` keys and values of the fixed tokens."""
    views: tuple[int, ...] = ()
    """For each fixed token the frames of the stream at the time that its successor was
    committed."""
    looked: Looked = field(default_factory=Looked)
    """How the tokens that were committed since the window began looked at its frames."""

    @property
    def open(self) -> tuple[int, ...]:
        """Tokens that are not fixed; at least one."""
        return self.tokens[len(self.views) :]


@dataclass(frozen=True)
class DraftToken:
    """A token that could come next."""

    id: int
    frame: int
    """Encoder frame of the stream that the alignment heads looked at most."""
    silent: float
    """Share of their attention that went to the silence after what was heard."""
    log_prob: float
    """Natural logarithm of its probability among those that are allowed."""


@dataclass(frozen=True, eq=False)
class Draft:
    """What was decoded and not committed.

    ``tokens`` and ``own`` grow when somebody looks further. What they grow by follows from the
    stream's other state alone, so they are a memory of a result and no state of their own.
    """

    stale: tuple[int, ...] = ()
    """Tokens that were likeliest with fewer frames."""
    tokens: list[DraftToken] = field(default_factory=list)
    own: list[Tensor] = field(default_factory=list)
    """``[L, 2, H, any, d]`` keys and values of the open tokens of the prefix and then of
    ``tokens``, but for the last one or more of them, in parts."""
    rows: list[Tensor] = field(default_factory=list)
    """``[T]`` of each token how the alignment heads looked at the frames."""
    opening: list[Tensor] = field(default_factory=list)
    """``[T]`` of the open tokens of the prefix but the last."""
    no_speech: list[float] = field(default_factory=list)
    """Probability that nothing is spoken, if the search was asked for it: at most one."""
    considered: list[bool] = field(default_factory=list)
    """Whether a likelier one was looked for: one entry if so."""

    def become(self, other: Draft) -> None:
        """Take what another draft has."""
        for name in ("tokens", "own", "rows", "opening", "no_speech", "considered"):
            getattr(self, name)[:] = getattr(other, name)


MOST_REPEATED = 8
"""Tokens in a row that may come a second time in a window. A decoder that is not sure says the same
for ever; people do not repeat so much word by word."""

ENDED = 0.5
"""Share of the attention that goes to the silence after what was heard when a text ends."""
NEAR_END = 50
"""An end is one, too, if it or a word before it looks at one of the last so many frames with
speech. Whisper likes to end after a sentence, and would say nothing of the speech that follows."""
AT_END = 15
"""A sentence that looks at one of the last so many is the last one once nothing more is heard.
Whisper likes to say it again."""


@dataclass(frozen=True)
class Speech:
    """What a search knows of it."""

    reached: int
    """Frame of the stream up to which there are words."""
    end: int
    """Frame behind the last one with speech."""
    is_over: bool = False
    """Whether nothing more will be heard before a new text begins."""


def repeating(tokens: Sequence[int], most: int) -> list[int]:
    """Ids that would make the last ``most`` tokens and one more a copy of earlier ones."""
    latest = list(tokens[-most:])
    return [
        tokens[place + most]
        for place in range(len(tokens) - most)
        if tokens[place] == latest[0] and list(tokens[place : place + most]) == latest
    ]


def refuse_nan(log_prob: float, number: int) -> None:
    """Refuse a log-probability that is NaN, of the token of that number.

    Raises:
        CheckpointError: if it is.
    """
    if math.isnan(log_prob):
        raise CheckpointError(
            f"the log-probability of token {number} of the text is NaN; expected numbers: the "
            "weights of the encoder or of the text decoder are damaged"
        )


class GreedySearch:
    """Likeliest tokens, one after the other; immutable, shared by streams.

    Args:
        decoder: the transformer.
        end: id of the token after which nothing more is said.
        suppressed: ids that are never taken.
        suppressed_first: ids that are not taken right after the prompt.
        no_speech: id whose probability says that there is no speech, if there is one.
        sentence_ends: ids that end a sentence.
    """

    def __init__(
        self,
        decoder: TransformerDecoder,
        *,
        end: int,
        suppressed: tuple[int, ...] = (),
        suppressed_first: tuple[int, ...] = (),
        no_speech: int | None = None,
        sentence_ends: frozenset[int] = frozenset(),
    ) -> None:
        self.decoder = decoder
        self.end = end
        self._no_speech = no_speech
        self._sentence_ends = sentence_ends
        with torch.no_grad():
            self.silence = decoder.silence_rows()
        size = decoder.config.vocab_size
        self._barred = torch.zeros(size)
        self._barred[[each for each in suppressed if each != end]] = -torch.inf
        self._barred_first = self._barred.clone()
        self._barred_first[list(suppressed_first)] = -torch.inf

    @property
    def asks_for_speech(self) -> bool:
        """Whether a draft tells the probability that nothing is spoken."""
        return self._no_speech is not None

    def start(self, prompt: tuple[int, ...]) -> Prefix:
        """A prefix of which nothing is fixed."""
        return Prefix(prompt, self.decoder.no_past())

    @torch.no_grad()
    def remade(self, prefix: Prefix, source: Source) -> Prefix:
        """The fixed tokens once more, for a window that begins at another frame.

        Args:
            prefix: of which only tokens, views and the frame of the last token are looked at.
            source: of at least one frame.
        """
        past, looked = self.decoder.no_past(), Looked(frame=prefix.looked.frame)
        fixed = len(prefix.views)
        if fixed:
            views = torch.tensor(prefix.views) - source.base
            tokens = torch.tensor(prefix.tokens[:fixed], device=self.decoder.device)
            views = views.clamp(1, source.num_frames)
            made = self.decoder.step(tokens, (), source.parts, self.silence, views)
            past = made.own
            rows = made.attention.mean(dim=0)[:, : source.num_frames].float().cpu()
            looked = looked.after(rows.unbind(), looked.frame)
        return Prefix(prefix.tokens, past, prefix.views, looked)

    @torch.no_grad()
    def grow(
        self,
        prefix: Prefix,
        source: Source,
        draft: Draft,
        *,
        first: bool,
        speech: Speech,
        start: int | None = None,
    ) -> None:
        """Add at least one token to the draft.

        Args:
            prefix: what is committed.
            source: of at least one frame.
            draft: without the end in it.
            first: whether the next token comes right after the prompt.
            speech: where it is.
            start: place among the open tokens after which the probability of no speech is read.

        Raises:
            CheckpointError: if a log-probability is NaN, the mark of damaged weights.
        """
        if draft.own:
            fed = [draft.tokens[-1].id]
            proposed: tuple[int, ...] = ()
        else:
            fed = list(prefix.open)
            proposed = draft.stale
        tokens = torch.tensor((*fed, *proposed), device=self.decoder.device)
        past = (prefix.past.to(tokens.device), *draft.own)
        decoded = self.decoder.step(tokens, past, source.parts, self.silence)
        skipped = len(fed) - 1
        rows = decoded.output[skipped:]
        if start is not None and self._no_speech is not None and not draft.own:
            # In one product, since most of its time is that of reading the vocabulary.
            both = self.decoder.logits(torch.cat((decoded.output[[start]], rows))).float().cpu()
            draft.no_speech.append(float(both[0].softmax(dim=0)[self._no_speech]))
            logits = both[1:]
        else:
            logits = self.decoder.logits(rows).float().cpu()
        heard = decoded.attention.mean(dim=0)[:, : source.num_frames].float().cpu()
        if not draft.own:
            draft.opening.extend(heard[:skipped])
        looked = prefix.looked.after(draft.opening, prefix.looked.frame)
        if draft.tokens:
            looked = looked.after(draft.rows, draft.tokens[-1].frame)
        looks = looks_of(heard[skipped:], looked, source.base)
        barred = self.barred(first and not draft.tokens)
        reached = max((speech.reached, *(token.frame for token in draft.tokens)))
        accepted = 0
        said = [*prefix.tokens, *(token.id for token in draft.tokens)]
        for row, look in zip(logits, looks, strict=True):
            row = self.allowed(row + barred, said, look, reached, speech)
            barred = self.barred(False)
            is_proposed = accepted < len(proposed)
            best = int(row.argmax())
            log_prob = float(row[best] - row.logsumexp(dim=0))
            refuse_nan(log_prob, len(said))
            draft.tokens.append(DraftToken(best, look.frame, look.silent, log_prob))
            reached = max(reached, look.frame) if best != self.end else reached
            draft.rows.append(look.heard)
            said.append(best)
            if best == self.end or not is_proposed or best != proposed[accepted]:
                break
            accepted += 1
        own = decoded.own
        draft.own.append(own if accepted == len(proposed) else own[..., : len(fed) + accepted, :])

    def barred(self, first: bool) -> Tensor:
        """``[V]`` minus infinity for ids that are never taken, or not right after the prompt."""
        return self._barred_first if first else self._barred

    def allowed(
        self, row: Tensor, said: Sequence[int], look: Look, reached: int, speech: Speech
    ) -> Tensor:
        """Logits ``row`` [V] after the tokens ``said``, without copies and ends that are none."""
        row[repeating(said, MOST_REPEATED)] = -torch.inf
        left = speech.end - max(look.frame, reached)
        if speech.is_over and left <= AT_END and said[-1] in self._sentence_ends:
            row[torch.arange(len(row)) != self.end] = -torch.inf
        elif look.silent < ENDED and left > NEAR_END:
            end = float(row[self.end])
            row[self.end] = -torch.inf
            if float(row.max()) == -torch.inf:  # All else would be a copy.
                row[self.end] = end
        return row

    def committed(
        self, prefix: Prefix, draft: Draft, count: int, source: Source
    ) -> tuple[Prefix, Draft]:
        """Commit the first ``count >= 1`` tokens of a draft that was made with ``source``."""
        fixed = len(prefix.open) + count - 1
        own = draft.own[0] if len(draft.own) == 1 else torch.cat(draft.own, dim=3)
        looked = prefix.looked.after(draft.opening, prefix.looked.frame)
        after = Prefix(
            prefix.tokens + tuple(token.id for token in draft.tokens[:count]),
            torch.cat((prefix.past.to(own.device), own[..., :fixed, :]), dim=3),
            prefix.views + (source.end,) * fixed,
            looked.after(draft.rows[:count], draft.tokens[count - 1].frame),
        )
        rest = own[..., fixed:, :]
        # Nothing is left of it if the last committed token has not been fed yet.
        kept = [rest.clone()] if rest.shape[3] else []
        rest_of = draft.tokens[count:], kept, draft.rows[count:]
        return after, Draft((), *rest_of, considered=draft.considered[:])

    def outdated(self, draft: Draft) -> Draft:
        """The draft after new frames: to be verified."""
        ids = tuple(token.id for token in draft.tokens if token.id != self.end)
        return Draft(ids if draft.tokens else draft.stale)
