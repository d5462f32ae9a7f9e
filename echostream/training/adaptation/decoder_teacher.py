"""What the text decoder learns from: its own answers with the whole window before it.

Symbols: ``n`` tokens that are asked for, ``V`` vocabulary, ``T`` encoder frames, ``C`` channels.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from echostream.decoder.text.transformer import TransformerDecoder
from echostream.training.adaptation.few_shapes import TOKENS, padded
from echostream.training.adaptation.texts import Dictation

_LAG_FRAMES = (10, 60)
"""Frames between what a word is about and the newest one when it is written, drawn for a window."""
_MORE_FRAMES = 12
"""Mean of what is added for each token."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A dictation with the teacher's answers."""

    tokens: Tensor
    """``[n + prompt]``; those from ``prompt`` on are asked for."""
    prompt: int
    views: Tensor
    """``[n + prompt - 1]`` frames that each token but the last looks at."""
    log_probs: Tensor
    """``[n, V]`` of the teacher, float16."""
    is_translation: bool


class DecoderTeacher:
    """Whisper's decoder offline: it looks at a whole window, whose silence is encoded.

    Args:
        decoder: with the weights as they were released.
        frame_ms: length of an encoder frame.
        bfloat16: whether it computes in that, but for the logits.
    """

    def __init__(
        self, decoder: TransformerDecoder, frame_ms: int, *, bfloat16: bool = False
    ) -> None:
        self._decoder = decoder.eval()
        self._bfloat16 = bfloat16
        self._rows = decoder.source_position_rows()
        self._none = decoder.silence_rows()[..., :0, :]
        self._frames_per_second = 1000 / frame_ms
        self.max_tokens = decoder.config.max_tokens

    @torch.no_grad()
    def __call__(
        self, dictation: Dictation, frames: Tensor, heard: int, chance: random.Random
    ) -> Lesson:
        """The lesson of a dictation.

        Args:
            dictation: with at least one token; those that do not fit are left out.
            frames: ``[T, C]`` the teacher's for the whole window.
            heard: frames after which the stream ends.
            chance: for how long words are waited for.
        """
        prompt = len(dictation.prompt)
        asked = dictation.tokens[: self.max_tokens - prompt]
        tokens = torch.tensor([*dictation.prompt, *(each.id for each in asked)])
        count = len(tokens) - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            source = self._decoder.source(frames)
            if self._rows is not None:
                source = source + self._rows[..., : len(frames), :]
            made = self._decoder.step(padded(tokens[:-1], TOKENS), (), (source,), self._none)
        told = slice(prompt - 1, count)
        log_probs = self._decoder.logits(made.output[told].float()).log_softmax(dim=-1)
        attention = made.attention.float().mean(dim=0)[told]
        before = attention.cumsum(dim=0) - attention
        usual = before / torch.arange(len(attention)).clamp_min(1)[:, None]
        lag = chance.randint(*_LAG_FRAMES)
        views, furthest = [], 0
        for row, each in zip(attention - usual, asked, strict=True):
            begin, end = (int(at * self._frames_per_second) for at in (each.begin, each.end))
            begin, end = min(begin, heard - 1), min(max(end, begin + 1), heard)
            looked = begin + int(row[begin:end].argmax())
            furthest = max(furthest, looked + lag + int(chance.expovariate(1 / _MORE_FRAMES)))
            views.append(min(furthest, heard))
        # The prompt is fixed when the first word is committed.
        return Lesson(
            tokens,
            prompt,
            torch.tensor([views[0]] * (prompt - 1) + views),
            log_probs.to(torch.float16),
            dictation.is_translation,
        )
