"""CTC prefix beam search with an exact carry over call boundaries.

Graves et al. 2006 (section 3.2, prefix search); the frame-synchronous form with two probabilities
for each prefix is Hannun et al. 2014 (arXiv 1408.2873), algorithm 1.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary, ``l`` a prefix, ``c`` a token, ``p(c)`` its
probability at the current frame. ``b(l)`` and ``n(l)`` are the probabilities of all alignments of
the frames so far that collapse to ``l`` and end in a blank or in its last token; primes mark them
one frame later. For every prefix of the beam:

    b'(l)    = (b(l) + n(l)) p(blank)              a blank
    n'(l)   += n(l) p(last of l)                   the last token goes on
    n'(l c) += (b(l) + n(l)) p(c)   if c is not the last token of l
    n'(l c) += b(l) p(c)            if it is: a repeat needs a blank between

after which the ``beam_size`` prefixes of greatest ``b' + n'`` are kept. All in natural logarithms,
float64, scaled after each frame so that the best prefix has probability 1.

With a language model the last two lines are multiplied by ``p_lm(c | l)^weight exp(bonus)``, each
time that they add a unit to a prefix (:mod:`echostream.decoder.ctc.frame_scores`).

A token is stable once all prefixes of the beam share it. CTC's frames are independent of each
other, so what comes later says next to nothing about an old token, and two readings of it may stay
in the beam for ever. Therefore a reading ``hold_frames`` old is settled in favour of the best
prefix. That bounds the state and the wait for a stable token; without it (a huge ``hold_frames``)
this is the published search.

Everything is decided frame by frame, so where calls are cut makes no difference, down to the bit.

A prefix sums over alignments and has no frames of its own. The frames reported for its tokens are
those of one alignment, traced along the largest term of each sum above.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.decoder.ctc.frame_scores import FrameScores, Fusion
from echostream.decoder.ctc.log_probs import Scores
from echostream.decoder.ctc.prefix_trie import (
    IMPOSSIBLE,
    NO_TOKEN,
    Entry,
    FlatNode,
    PrefixNode,
    flatten,
    linked,
    rebuild,
    unlinked,
)
from echostream.decoder.ctc.protocol import DecoderOutput, Token

FlatEntry = tuple[int, float, float, tuple[int, ...], tuple[int, ...]]
"""``(row of the node, log b, log n, frames of b, frames of n)``; the frames are those of the tokens
after the root, for the alignments that end in a blank and in the last token."""


@dataclass(frozen=True)
class PrefixBeamState:
    """Carry of one stream: at most ``beam_size * hold_frames`` nodes, however long the stream."""

    nodes: tuple[FlatNode, ...] = ((-1, NO_TOKEN),)
    """Live prefixes and their ancestors down to the root, the last stable token."""
    beam: tuple[FlatEntry, ...] = ((0, 0.0, IMPOSSIBLE, (), ()),)
    """Live prefixes, best first."""
    log_scale: float = 0.0
    """What scaling took out: the log-probability of a prefix is this plus its scaled one."""
    num_frames: int = 0
    """Frames heard."""
    num_tokens: int = 0
    """Stable tokens given out."""
    last_frame: int = 0
    """Frame of the last stable token."""
    history: tuple[int, ...] = ()
    """The last stable tokens, as many as a language model looks back."""
    num_settled: int = 0
    """Tokens that became stable by their age, while a live prefix still disagreed."""
    finished: bool = False


class PrefixSearch:
    """One step's own, mutable copy of a state.

    Args:
        state: where the stream stands; not changed.
        blank: CTC index of the blank.
        beam_size: prefixes kept after each frame.
        prune_log_prob: distance below the best at which a prefix is dropped, 0 or less.
        hold_frames: age at which an undecided token is settled.
        fusion: the language model's part in it; ``None`` for none.
    """

    def __init__(
        self,
        state: PrefixBeamState,
        *,
        blank: int,
        beam_size: int,
        prune_log_prob: float,
        hold_frames: int,
        fusion: Fusion | None = None,
    ) -> None:
        self._before = state
        self._fusion = fusion
        self._history = state.history
        self._blank = blank
        self._beam_size = beam_size
        self._prune_log_prob = prune_log_prob
        self._hold_frames = hold_frames
        nodes = rebuild(state.nodes)
        self._root = nodes[0]
        self._beam = [
            Entry(nodes[row], NO_TOKEN, log_b, log_n, linked(frames_b), linked(frames_n))
            for row, log_b, log_n, frames_b, frames_n in state.beam
        ]
        for entry in self._beam:
            entry.node.live = True
            entry.sum_up()
        self._stable: list[Token] = []
        self._frames = 0
        self._settled = 0
        self._log_scale = state.log_scale
        self._last_frame = state.last_frame

    def frame(self, scores: FrameScores) -> None:
        """One frame."""
        now = self._before.num_frames + self._frames
        self._frames += 1
        # Best first. Sorting is stable, so that equal scores stay in the order of their making.
        extended = self._extended(scores, now)
        ranked = sorted(extended, key=operator.attrgetter("log_both"), reverse=True)
        scale = ranked[0].log_both
        if scale > IMPOSSIBLE:
            self._replace_beam(ranked[: self._beam_size], scale)
            self._advance_root()
        self._settle_old(now - self._hold_frames)

    def _replace_beam(self, ranked: list[Entry], scale: float) -> None:
        """Make the good ones of ``ranked`` the beam, scaled so that the best has log 0."""
        floor = scale + self._prune_log_prob
        kept = [e for e in ranked if e.log_both >= floor and e.log_both > IMPOSSIBLE]
        before = [entry.node for entry in self._beam]
        for node in before:
            node.live = False
        self._beam = []
        for entry in kept:
            if entry.token != NO_TOKEN:
                entry.node, entry.token = entry.node.add(entry.token), NO_TOKEN
            entry.node.live = True
            entry.log_blank -= scale
            entry.log_token -= scale
            entry.sum_up()
            self._beam.append(entry)
        for node in before:
            if not node.live:
                node.discard()
        self._log_scale += scale

    def settle(self) -> None:
        """Drop all but the best prefix, which makes all of it stable."""
        self._keep(lambda entry: entry is self._beam[0])
        self._advance_root()

    def output(self) -> DecoderOutput:
        """Stable tokens of this step, and the best prefix after them."""
        path = self._beam[0].node.path_from(self._root)
        return DecoderOutput(tuple(self._stable), self._with_frames(path))

    def state(self) -> PrefixBeamState:
        """The state after the frames so far."""
        rows, index = flatten(self._root)
        return PrefixBeamState(
            nodes=rows,
            beam=tuple(
                (
                    index[id(e.node)],
                    e.log_blank,
                    e.log_token,
                    unlinked(e.frames_blank, e.node.depth - self._root.depth),
                    unlinked(e.frames_token, e.node.depth - self._root.depth),
                )
                for e in self._beam
            ),
            log_scale=self._log_scale,
            num_frames=self._before.num_frames + self._frames,
            num_tokens=self._before.num_tokens + len(self._stable),
            last_frame=self._last_frame,
            history=self._history,
            num_settled=self._before.num_settled + self._settled,
        )

    def _extended(self, scores: FrameScores, now: int) -> list[Entry]:
        """Prefixes one frame later, by the four equations at the top of this module."""
        row, tokens, log_probs, floor = scores
        stays = [self._stay(old, row) for old in self._beam]
        columns = {token: column for column, token in enumerate(tokens.tolist())}
        merged = self._merge(stays, row, now)
        for entry in stays:
            entry.sum_up()
        if not columns:
            return stays
        # The best scores of different prefixes as far as they are known, as many as the beam takes:
        # what is less than all of them is not made.
        known = [max(floor, entry.log_both) for entry in stays]
        known += [floor] * (self._beam_size - len(known))
        most_gained = 0.0 if self._fusion is None else self._fusion.most
        least = min(known) - log_probs.item(0) - most_gained
        growing = [old for old in self._beam if old.log_both >= least]
        if not growing:
            return stays
        terms = self._terms(growing, tokens, log_probs, columns)
        if merged:
            for place, old in enumerate(growing):
                for token in merged.get(id(old.node), ()):
                    if token in columns:
                        terms[place, columns[token]] = IMPOSSIBLE
        return stays + self._grown(growing, terms, known, tokens, now)

    def _stay(self, old: Entry, row: Scores) -> Entry:
        """The same prefix: a blank, or its last token goes on."""
        node, links = old.node, old.frames_token
        log_blank = old.log_both + row.item(self._blank)
        if node.token == NO_TOKEN:
            return Entry(node, NO_TOKEN, log_blank, IMPOSSIBLE, old.frames)
        log_token = old.log_token + row.item(node.token)
        return Entry(node, NO_TOKEN, log_blank, log_token, old.frames, links, log_token)

    def _merge(self, stays: list[Entry], row: Scores, now: int) -> dict[int, list[int]]:
        """Add to prefixes of the beam what comes from others of it by one more token.

        Returns those tokens, by the ``id`` of the node that they come after.
        """
        merged: dict[int, list[int]] = {}
        entry_of = {id(entry.node): entry for entry in stays}
        for old in self._beam:
            node = old.node
            for token, child in node.children.items():
                if not child.live or row[token] == IMPOSSIBLE:
                    continue
                merged.setdefault(id(node), []).append(token)
                repeated = token == node.token
                term = (old.log_blank if repeated else old.log_both) + row.item(token)
                if self._fusion is not None:
                    term += self._gains(node).item(token)
                links = (now, old.frames_blank if repeated else old.frames)
                entry_of[id(child)].add_token_term(term, links)
        return merged

    def _terms(
        self,
        growing: list[Entry],
        tokens: NDArray[np.intp],
        log_probs: NDArray[np.float64],
        columns: dict[int, int],
    ) -> NDArray[np.float64]:
        """What each prefix scores with each candidate after it, ``[prefixes, candidates]``."""
        terms = np.array([old.log_both for old in growing])[:, None] + log_probs
        for place, old in enumerate(growing):
            column = columns.get(old.node.token)
            if column is not None:
                terms[place, column] = old.log_blank + log_probs[column]
        if self._fusion is not None:
            for place, old in enumerate(growing):
                terms[place] += self._gains(old.node)[tokens]
        return terms

    def _grown(
        self,
        growing: list[Entry],
        terms: NDArray[np.float64],
        known: list[float],
        tokens: NDArray[np.intp],
        now: int,
    ) -> list[Entry]:
        """Prefixes with one more token that can be among the best, given the ``known`` scores."""
        scores = np.concatenate((known, terms.ravel()))
        place = len(scores) - self._beam_size
        least = max(np.partition(scores, place)[place], np.nextafter(IMPOSSIBLE, 0))
        grown = []
        rows, chosen = np.nonzero(terms >= least)
        for index, token, term in zip(
            rows.tolist(), tokens[chosen].tolist(), terms[rows, chosen].tolist(), strict=True
        ):
            old = growing[index]
            links = (now, old.frames_blank if token == old.node.token else old.frames)
            # Not in the beam, so there is no other way to it than this one.
            grown.append(Entry(old.node, token, IMPOSSIBLE, term, None, links, term, term))
        return grown

    def _gains(self, node: PrefixNode) -> NDArray[np.float64]:
        assert self._fusion is not None
        if node.gains is None:
            path = node.path_from(self._root)
            node.gains = self._fusion.gains((*self._history, *(n.token for n in path)))
        return node.gains

    def _advance_root(self) -> None:
        """Give out and forget what all live prefixes share."""
        shared = []
        root = self._root
        while not root.live and len(root.children) == 1:
            (root,) = root.children.values()
            shared.append(root)
        if shared:
            tokens = self._with_frames(shared)
            self._stable.extend(tokens)
            self._last_frame = tokens[-1].frame
            if self._fusion is not None:
                given = (*self._history, *(token.id for token in tokens))
                self._history = self._fusion.shorten(given)
            self._root = root
            root.parent = None

    def _with_frames(self, path: list[PrefixNode]) -> tuple[Token, ...]:
        """Tokens of ``path``, which starts below the root and lies on the best prefix."""
        best = self._beam[0]
        frames = unlinked(best.frames, best.node.depth - self._root.depth)
        # The best alignment now may differ from the one by which earlier tokens were reported.
        return tuple(
            Token(node.token, max(frame, self._last_frame))
            for node, frame in zip(path, frames, strict=False)
        )

    def _settle_old(self, newest: int) -> None:
        """Decide in favour of the best prefix what was emitted at frame ``newest`` or before."""
        if newest < 0 or not any(self._is_old(entry, newest) for entry in self._beam):
            return
        while self._is_old(self._beam[0], newest):
            winner = self._beam[0].node.path_from(self._root)[0]
            self._keep_through(winner)
            self._settled += 1
            self._advance_root()
        # The best prefix has no token that old (any more): a prefix that has one disagrees.
        self._keep(lambda entry: not self._is_old(entry, newest))
        self._advance_root()

    def _keep_through(self, winner: PrefixNode) -> None:
        """Drop all that does not go through ``winner``, a child of the root."""
        self._keep(lambda entry: winner in entry.node.path_from(self._root))
        # Dropping has left no other child; a damaged saved state may hold one, and must not hang.
        self._root.children = {winner.token: winner}

    def _is_old(self, entry: Entry, newest: int) -> bool:
        """Whether the prefix's first token after the root was emitted at ``newest`` or before."""
        links = entry.frames
        for _ in range(entry.node.depth - self._root.depth):
            if links is None:  # No alignment leads there.
                return False
            if links[0] <= newest:
                return True
            links = links[1]
        return False

    def _keep(self, wanted: Callable[[Entry], bool]) -> None:
        dropped = [entry for entry in self._beam if not wanted(entry)]
        if not dropped:
            return
        self._beam = [entry for entry in self._beam if wanted(entry)]
        for entry in dropped:
            entry.node.discard()
