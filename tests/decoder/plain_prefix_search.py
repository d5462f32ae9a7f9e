"""The prefix beam decoder with every prefix tried with every token at every frame."""

import math

from echostream.decoder import PrefixBeamCtc, PrefixBeamState
from echostream.decoder.ctc.frame_scores import FrameScores
from echostream.decoder.ctc.prefix_search import PrefixSearch
from echostream.decoder.ctc.prefix_trie import Entry


class PlainSearch(PrefixSearch):
    """Leaves out nothing: neither tokens nor prefixes that cannot be kept."""

    def _extended(self, scores: FrameScores, now: int) -> list[Entry]:
        row = [float(score) for score in scores.row]
        tokens = [t for t in range(len(row)) if t != self._blank and row[t] > -math.inf]
        found: dict[tuple[int, ...], Entry] = {}
        for old in self._beam:
            prefix = tuple(node.token for node in old.node.path_from(self._root))
            last = old.node.token
            same = found.setdefault(prefix, Entry(old.node))
            same.log_blank, same.frames_blank = old.log_both + row[self._blank], old.frames
            if last >= 0:
                same.add_token_term(old.log_token + row[last], old.frames_token)
            history = (*self._history, *prefix)
            gains = None if self._fusion is None else self._fusion.gains(history)
            for token in tokens:
                gain = 0.0 if gains is None else float(gains[token])
                child = old.node.children.get(token)
                new = Entry(old.node, token) if child is None else Entry(child)
                longer = found.setdefault((*prefix, token), new)
                if token == last:
                    longer.add_token_term(
                        old.log_blank + row[token] + gain, (now, old.frames_blank)
                    )
                else:
                    longer.add_token_term(old.log_both + row[token] + gain, (now, old.frames))
        for entry in found.values():
            entry.sum_up()
        return list(found.values())


class PlainPrefixBeam(PrefixBeamCtc):
    """As :class:`PrefixBeamCtc`, slowly."""

    def _search(self, state: PrefixBeamState) -> PrefixSearch:
        return PlainSearch(
            state,
            blank=self.blank,
            beam_size=self.beam_size,
            prune_log_prob=self.prune_log_prob,
            hold_frames=self.hold_frames,
            fusion=self._fusion,
        )
