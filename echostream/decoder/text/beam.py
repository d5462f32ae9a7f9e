"""Beam search of a text decoder, where a greedy draft is not sure and for what is left at an end.

Symbols: ``V`` vocabulary, ``T`` encoder frames in the window, ``w`` hypotheses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.decoder.text.alignment import Look, Looked, looks_of
from echostream.decoder.text.search import (
    Draft,
    DraftToken,
    GreedySearch,
    Prefix,
    Speech,
    refuse_nan,
)
from echostream.decoder.text.source import Source

SURE = math.log(0.5)
"""Log-probability from which on a token is taken without a look at others."""
CERTAIN = math.log(0.8)
"""Up to the first token below this a search for a likelier draft takes what is drafted."""
NEWEST = 25
"""Frames at the end of what was heard so far, on which no search is spent: words about them are
likely to change once more is heard."""


class _Step(NamedTuple):
    """From a hypothesis to one with a token more."""

    total: float
    """Log-probability of all its tokens."""
    number: int
    """Of the hypothesis."""
    token: int
    log_prob: float


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    branch: Tensor
    """Of all tokens that were fed 0 for its own, minus infinity for others, to add to scores."""
    reached: int
    looked: Looked
    log_prob: float = 0.0
    tokens: tuple[DraftToken, ...] = ()
    rows: tuple[Tensor, ...] = ()
    """``[T]`` of each token how it looked at the frames."""
    places: tuple[int, ...] = ()
    """Of each token but the last its number among those that were fed with it."""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    def with_token(self, step: _Step, branch: Tensor, look: Look) -> _Hypothesis:
        return _Hypothesis(
            branch,
            max(self.reached, look.frame),
            self.looked.after((look.heard,), look.frame),
            step.total,
            (*self.tokens, DraftToken(step.token, look.frame, look.silent, step.log_prob)),
            (*self.rows, look.heard),
            (*self.places, step.number) if self.tokens else (),
        )


def is_settled(tokens: Sequence[DraftToken], end: int, frame: int) -> bool:
    """Whether a draft has the end of the text, or looks at the ``frame`` or behind it."""
    return any(token.id == end or token.frame >= frame for token in tokens)


def num_certain(tokens: Sequence[DraftToken], frame: int) -> int | None:
    """Tokens that a search for a likelier draft begins with; ``None`` if it is sure as it is.

    Args:
        tokens: of the draft.
        frame: one is not looked at any more behind the token that looks at it.
    """
    for token in tokens:
        if token.log_prob < SURE:
            return next(at for at, each in enumerate(tokens) if each.log_prob < CERTAIN)
        if token.frame >= frame:
            break
    return None


class BeamSearch:
    """Likeliest texts of several; immutable, shared by streams.

    Args:
        greedy: the search of one, whose decoder and rules these are.
        width: hypotheses that are kept.
    """

    def __init__(self, greedy: GreedySearch, width: int) -> None:
        self._greedy, self.width = greedy, width

    @torch.no_grad()
    def find(
        self,
        prefix: Prefix,
        source: Source,
        *,
        most: int,
        first: bool,
        speech: Speech,
        until: int | None = None,
        draft: Draft | None = None,
        certain: int = 0,
    ) -> Draft:
        """A draft to the end of the text, whose mean log-probability is highest.

        Args:
            prefix: what is committed.
            source: of at least one frame.
            most: tokens at most.
            first: whether the next token comes right after the prompt.
            speech: where it is.
            until: frame of the stream at which the likeliest text so far is taken; ``None`` to go
                to the end.
            draft: what was found before.
            certain: tokens of it that are taken as they are.

        Raises:
            CheckpointError: if a log-probability is NaN, the mark of damaged weights.
        """
        draft = draft or Draft()
        if not certain:
            found = self._searched(prefix, source, most, first, speech, until)
            return dataclasses.replace(found, no_speech=draft.no_speech[:], considered=[True])
        tokens, fixed = draft.tokens[:certain], len(prefix.open) + certain - 1
        own = torch.cat(draft.own, dim=3)[..., :fixed, :]
        prefix, _ = self._greedy.committed(prefix, draft, certain, source)
        reached = max((speech.reached, *(token.frame for token in tokens)))
        speech = dataclasses.replace(speech, reached=reached)
        found = self._searched(prefix, source, most - certain, False, speech, until)
        return Draft(
            (),
            tokens + found.tokens,
            [own, *found.own],
            draft.rows[:certain] + found.rows,
            draft.opening[:],
            draft.no_speech[:],
            [True],
        )

    def _searched(
        self,
        prefix: Prefix,
        source: Source,
        most: int,
        first: bool,
        speech: Speech,
        until: int | None,
    ) -> Draft:
        """What follows a prefix."""
        decoder, end = self._greedy.decoder, self._greedy.end
        past, own = prefix.past.to(decoder.device), list[Tensor]()
        fed, branches, opening = list(prefix.open), None, list[Tensor]()
        # Of each hypothesis, with its latest token.
        paths = [torch.zeros(len(prefix.tokens))]
        live = [_Hypothesis(paths[0], speech.reached, prefix.looked)]
        ended: list[_Hypothesis] = []

        def drafted(best: _Hypothesis) -> Draft:
            parts = own[1 : len(best.tokens)]
            kept = [p[..., at : at + 1, :] for p, at in zip(parts, best.places, strict=True)]
            return Draft((), [*best.tokens], [own[0], *kept], [*best.rows], opening)

        for place in range(most):
            if place:
                # All hypotheses at once, as branches of one text, so that weights are read once.
                fed = [each.tokens[-1].id for each in live]
                others = torch.full((len(live), len(live)), -torch.inf).fill_diagonal_(0.0)
                branches = torch.cat((torch.stack([each.branch for each in live]), others), dim=1)
                paths = list(branches)
            made = decoder.step(
                torch.tensor(fed, device=decoder.device),
                (past, *own),
                source.parts,
                self._greedy.silence,
                branches=branches,
            )
            own.append(made.own)
            rows = decoder.logits(made.output[-len(live) :]).float().cpu()
            rows += self._greedy.barred(first and not place)
            heard = made.attention.mean(dim=0)[:, : source.num_frames].float().cpu()
            if not place:
                opening.extend(heard[:-1])
                looked = prefix.looked.after(opening, prefix.looked.frame)
                live = [dataclasses.replace(live[0], looked=looked)]
            looks = [
                looks_of(row[None], each.looked, source.base)[0]
                for row, each in zip(heard[-len(live) :], live, strict=True)
            ]
            for each, row, look in zip(live, rows, looks, strict=True):
                said = (*prefix.tokens, *each.ids)
                row.copy_(self._greedy.allowed(row, said, look, each.reached, speech))
            best = rows.log_softmax(dim=1).topk(min(self.width + 1, rows.shape[1]), dim=1)
            refuse_nan(float(best.values.sum()), len(prefix.tokens) + place)
            steps = [
                _Step(each.log_prob + log_prob, number, token, log_prob)
                for number, (each, log_probs, tokens) in enumerate(
                    zip(live, best.values.tolist(), best.indices.tolist(), strict=True)
                )
                for log_prob, token in zip(log_probs, tokens, strict=True)
            ]
            steps.sort(key=lambda step: step.total, reverse=True)
            kept = [step for step in steps if step.token != end][: self.width]
            ends = [step for step in steps[: self.width] if step.token == end]
            taken = {
                step: live[step.number].with_token(step, paths[step.number], looks[step.number])
                for step in {*kept, *ends, steps[0]}
            }
            likeliest = taken[steps[0]]
            if until is not None and (steps[0].token == end or likeliest.reached >= until):
                return drafted(likeliest)
            ended += [taken[step] for step in ends]
            live = [taken[step] for step in kept]
            if len(ended) >= self.width:
                break
        return drafted(max(ended or live, key=lambda each: each.log_prob / len(each.tokens)))
