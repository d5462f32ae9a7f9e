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
from echostream.decoder.text.search import DraftToken, GreedySearch, Prefix, Speech
from echostream.decoder.text.source import Source

SURE = math.log(0.5)
"""Log-probability from which on a token is taken without a look at others."""
CERTAIN = math.log(0.8)
"""Up to the first token below this a search for a likelier draft takes what is drafted."""
NEWEST = 25
"""Frames at the end of what was heard so far, on which no search is spent: words about them are
likely to change once more is heard."""


@dataclass(frozen=True, eq=False)
class _Hypothesis:
    tokens: tuple[int, ...]
    log_prob: float
    branch: Tensor
    """Of all tokens that were fed 0 for its own, minus infinity for others, to add to scores."""
    reached: int
    looked: Looked

    def with_token(self, token: int, log_prob: float, branch: Tensor, look: Look) -> _Hypothesis:
        log_prob += self.log_prob
        reached = max(self.reached, look.frame)
        looked = self.looked.after((look.heard,), look.frame)
        return _Hypothesis((*self.tokens, token), log_prob, branch, reached, looked)


class _Step(NamedTuple):
    """From a hypothesis to one with a token more."""

    total: float
    """Log-probability of all its tokens."""
    number: int
    """Of the hypothesis."""
    token: int
    log_prob: float


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
            least = max(CERTAIN, SURE)
            return next(at for at, each in enumerate(tokens) if each.log_prob < least)
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
    ) -> tuple[int, ...]:
        """The tokens to the end of the text whose mean log-probability is highest.

        Args:
            prefix: what is committed.
            source: of at least one frame.
            most: tokens at most.
            first: whether the next token comes right after the prompt.
            speech: where it is.
            until: frame of the stream at which the likeliest text so far is taken; ``None`` to go
                to the end.
        """
        decoder, end = self._greedy.decoder, self._greedy.end
        past = [prefix.past.to(decoder.device)]
        fed, branches = list(prefix.open), None
        # Of each hypothesis, with its latest token.
        paths = [torch.zeros(len(prefix.tokens))]
        live = [_Hypothesis((), 0.0, paths[0], speech.reached, prefix.looked)]
        ended: list[_Hypothesis] = []
        for place in range(most):
            if place:
                # All hypotheses at once, as branches of one text, so that weights are read once.
                fed = [each.tokens[-1] for each in live]
                others = torch.full((len(live), len(live)), -torch.inf).fill_diagonal_(0.0)
                branches = torch.cat((torch.stack([each.branch for each in live]), others), dim=1)
                paths = list(branches)
            made = decoder.step(
                torch.tensor(fed, device=decoder.device),
                past,
                source.parts,
                self._greedy.silence,
                branches=branches,
            )
            past.append(made.own)
            rows = decoder.logits(made.output[-len(live) :]).float().cpu()
            rows += self._greedy.barred(first and not place)
            heard = made.attention.mean(dim=0)[:, : source.num_frames].float().cpu()
            if not place:
                looked = prefix.looked.after(heard[:-1].unbind(), prefix.looked.frame)
                live = [dataclasses.replace(live[0], looked=looked)]
            looks = [
                looks_of(row[None], each.looked, source.base)[0]
                for row, each in zip(heard[-len(live) :], live, strict=True)
            ]
            for each, row, look in zip(live, rows, looks, strict=True):
                said = (*prefix.tokens, *each.tokens)
                row.copy_(self._greedy.allowed(row, said, look, each.reached, speech))
            best = rows.log_softmax(dim=1).topk(min(self.width + 1, rows.shape[1]), dim=1)
            steps = [
                _Step(own.log_prob + log_prob, number, token, log_prob)
                for number, (own, log_probs, tokens) in enumerate(
                    zip(live, best.values.tolist(), best.indices.tolist(), strict=True)
                )
                for log_prob, token in zip(log_probs, tokens, strict=True)
            ]
            steps.sort(key=lambda step: step.total, reverse=True)
            kept = [step for step in steps if step.token != end][: self.width]
            ends = [step for step in steps[: self.width] if step.token == end]
            taken = {}
            for step in {*kept, *ends, steps[0]}:
                own, number = live[step.number], step.number
                taken[step] = own.with_token(
                    step.token, step.log_prob, paths[number], looks[number]
                )
            likeliest = taken[steps[0]]
            if until is not None and (likeliest.tokens[-1] == end or likeliest.reached >= until):
                return likeliest.tokens
            ended += [taken[step] for step in ends]
            live = [taken[step] for step in kept]
            if len(ended) >= self.width:
                break
        return max(ended or live, key=lambda each: each.log_prob / len(each.tokens)).tokens
