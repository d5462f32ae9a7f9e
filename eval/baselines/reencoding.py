"""Whisper re-encoded at every segment: how it is used for streaming today.

All audio that is kept, filled up with silence to 30 s, goes through the released encoder as one
chunk, and the decoder writes greedily after the words that stand already. What it says new is
written

- ``local-agreement``: as far as the hypothesis before said the same (whisper_streaming, Macháček et
  al. 2023, arXiv 2307.14743);
- ``alignatt``: up to the first token whose attention is within some frames of the end of the audio
  (Papi et al. 2023, arXiv 2305.11408; SimulStreaming, Macháček and Polák 2025, arXiv 2506.17077);
- ``offline``: all of it, when the recording has ended or 30 s are full.

Unlike there the search is greedy, words that stand are given to the decoder instead of found again
by their times, and everything is written at the end of a recording.

Symbols: ``n`` samples at 16 kHz, ``f`` feature frames, ``F`` mel bins, ``T`` encoder frames, ``C``
channels, ``A`` alignment heads, ``m`` tokens.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from echostream.audio.frontend import LEAD_IN_SAMPLES
from echostream.audio.log_mel import LogMel, normalised
from echostream.constants import (
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
    SAMPLE_RATE,
    SUBSAMPLING,
)
from echostream.decoder.text.search import MOST_REPEATED, repeating
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.decoder.text.vocabulary import TextVocabulary
from echostream.decoder.text.window import WrittenWord, cut, ends_sentence
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper import WhisperEncoder

WAYS = LOCAL_AGREEMENT, ALIGNATT, OFFLINE = "local-agreement", "alignatt", "offline"
FRAMES = 25
"""SimulStreaming's distance from the end of the audio, in encoder frames."""
REWOUND = 200
"""Its longest way back from one word to the next."""
WINDOW = 30 * SAMPLE_RATE
"""Samples that are kept at most."""

_PIECE = 5 * SAMPLE_RATE
_FRAME = FRAME_SHIFT_SAMPLES * SUBSAMPLING
_HISTORY = 50
_NO_SPEECH = 0.6
_SILENT = -10.0


@dataclass(frozen=True)
class HypothesisWord:
    """A word that is not written."""

    text: str
    tokens: tuple[int, ...]
    frame: int
    """Encoder frame of the stream that it looked at."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """One stream."""

    samples: NDArray[np.float32]
    """``[n]`` not yet left behind, at most :data:`WINDOW`."""
    base: int = 0
    """Encoder frame of the stream where they begin."""
    tokens: tuple[int, ...] = ()
    """Of the words that were written since then."""
    written: tuple[WrittenWord, ...] = ()
    """Those words."""
    history: tuple[int, ...] = ()
    """Tokens of the words before, as a prompt."""
    previous: tuple[HypothesisWord, ...] = ()
    """What the latest hypothesis said more than was written."""


class Reencoder:
    """Whisper offline over a growing buffer; immutable, shared by streams.

    Args:
        encoder: as it was released.
        decoder: its own.
        vocabulary: with language and task.
        way: one of :data:`WAYS`.
        frames: of ``alignatt``.
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        decoder: TransformerDecoder,
        vocabulary: TextVocabulary,
        way: str,
        frames: int = FRAMES,
    ) -> None:
        self._encoder, self._decoder, self._vocabulary = encoder.eval(), decoder.eval(), vocabulary
        self._way, self._frames = way, frames
        self._history = min(_HISTORY, decoder.config.max_tokens // 4)
        self._bank = LogMel()
        with torch.no_grad():
            self._rows = decoder.source_position_rows()
            self._silence = decoder.silence_rows()
        self._barred = torch.zeros(decoder.config.vocab_size)
        self._barred[
            [each for each in vocabulary.suppressed if each != vocabulary.end]
        ] = -torch.inf
        self._barred_first = self._barred.clone()
        self._barred_first[list(vocabulary.suppressed_first)] = -torch.inf

    def init_state(self) -> Buffer:
        """A stream of which nothing has been heard."""
        return Buffer(np.zeros(0, np.float32))

    def step(
        self, samples: NDArray[np.float32], buffer: Buffer, *, is_final: bool
    ) -> tuple[list[str], Buffer]:
        """Words to write after more samples ``[n]``, and the stream after them."""
        said: list[str] = []
        for start in range(0, max(1, len(samples)), _PIECE):
            piece = samples[start : start + _PIECE]
            if len(buffer.samples) + len(piece) > WINDOW:
                if self._way == OFFLINE:
                    words, buffer = self._updated(buffer, is_final=False)
                    said += words
                buffer = self._shortened(buffer)
            heard = np.concatenate((buffer.samples, piece))
            buffer = dataclasses.replace(buffer, samples=heard)
            ends = is_final and start + _PIECE >= len(samples)
            if ends or self._way != OFFLINE:
                words, buffer = self._updated(buffer, is_final=ends)
                said += words
        return said, buffer

    def encode(self, samples: NDArray[np.float32]) -> Tensor:
        """``[n] -> [T, C]`` of the samples and the silence that fills them up to 30 s."""
        size = LEAD_IN_SAMPLES + WINDOW
        energies = np.full((_windows_in(size), NUM_MEL_BINS), _SILENT, np.float32)
        # What begins after the sound is silent and need not be computed.
        padded = np.pad(samples, (LEAD_IN_SAMPLES, FRAME_LENGTH_SAMPLES))[:size]
        sounding = _windows_in(len(padded))
        energies[:sounding] = self._bank.recording_energies(padded)
        features = normalised(energies, np.full(len(energies), energies.max(), np.float32))
        whole = torch.from_numpy(features)[None]
        return self._encoder(whole, chunk_size=WHOLE_RECORDING)["encoder_out"][0]

    @torch.no_grad()
    def hypothesis(self, buffer: Buffer, stop: int | None) -> tuple[HypothesisWord, ...]:
        """The words after those that stand; none if the audio is shorter than a frame.

        With ``stop`` they end before the first token that attends to the last ``stop`` frames.
        """
        heard = len(buffer.samples) // _FRAME
        if not heard:
            return ()
        source = self._decoder.source(self.encode(buffer.samples))
        if self._rows is not None:
            source = source + self._rows[..., : source.shape[3], :]
        prompt = self._vocabulary.prompt(buffer.history)
        fed, said = [*prompt, *buffer.tokens], list(buffer.tokens)
        past, looks = self._decoder.no_past(), torch.zeros(0)
        found: list[tuple[int, int]] = []
        following = end = self._vocabulary.end
        while len(said) < self._decoder.config.max_tokens // 2:
            made = self._decoder.step(torch.tensor(fed), (past,), (source,), self._silence)
            past = torch.cat((past, made.own), dim=3)
            attention = made.attention[..., :heard]
            looks = torch.cat((looks, attention), dim=1) if found else attention
            if not said and stop is not None and self._is_silent(made.output, prompt):
                return ()
            row = self._decoder.logits(made.output[-1])
            row = row + (self._barred if said else self._barred_first)
            row[repeating(said, MOST_REPEATED)] = -torch.inf
            following, frame = int(row.argmax()), aligned(looks)
            if following == end:
                break
            if stop is not None and frame >= heard - stop:
                break
            if stop is not None and found and frame < found[-1][1] - REWOUND:
                return ()
            found.append((following, frame))
            said.append(following)
            fed, following = [following], end
        return self._words(found, following, buffer.base)

    def _words(
        self, found: Sequence[tuple[int, int]], following: int, base: int
    ) -> tuple[HypothesisWord, ...]:
        """The whole words of tokens with their frames, after which ``following`` comes."""
        words, begin = [], 0
        ids = [token for token, _ in found]
        for end, after in enumerate((*ids[1:], following), start=1):
            tokens = tuple(ids[begin:end])
            if tokens and self._vocabulary.completes(tokens, after):
                frame = base + max(frame for _, frame in found[begin:end])
                words.append(HypothesisWord(self._vocabulary.text(tokens), tokens, frame))
                begin = end
        return tuple(words)

    def _is_silent(self, output: Tensor, prompt: tuple[int, ...]) -> bool:
        if self._vocabulary.no_speech is None:
            return False
        start = output[self._vocabulary.start_place(prompt)]
        chances = self._decoder.logits(start).softmax(dim=0)
        return float(chances[self._vocabulary.no_speech]) > _NO_SPEECH

    def _updated(self, buffer: Buffer, *, is_final: bool) -> tuple[list[str], Buffer]:
        agrees = self._way == LOCAL_AGREEMENT
        words = self.hypothesis(buffer, None if is_final or agrees else self._frames)
        count = len(words)
        if agrees and not is_final:
            pairs = enumerate(zip(words, buffer.previous, strict=False))
            most = min(count, len(buffer.previous))
            count = next((i for i, (a, b) in pairs if a.tokens != b.tokens), most)
        return [word.text for word in words[:count]], dataclasses.replace(
            buffer,
            tokens=buffer.tokens + tuple(id for word in words[:count] for id in word.tokens),
            written=buffer.written
            + tuple(
                WrittenWord(len(word.tokens), word.frame, ends_sentence(word.text))
                for word in words[:count]
            ),
            previous=words[count:],
        )

    def _shortened(self, buffer: Buffer) -> Buffer:
        """Leave about half of the audio behind, at a word that stands; its words are the prompt."""
        end = buffer.base + len(buffer.samples) // _FRAME
        base, count = cut(buffer.base, end, buffer.written)
        leaving = sum(word.num_tokens for word in buffer.written[:count])
        history = buffer.history + buffer.tokens[:leaving]
        if len(history) > self._history:
            history = history[-self._history :]
            while history and not self._vocabulary.starts_word(history[0]):
                history = history[1:]
        return dataclasses.replace(
            buffer,
            samples=buffer.samples[(base - buffer.base) * _FRAME :].copy(),
            base=base,
            tokens=buffer.tokens[leaving:],
            written=buffer.written[count:],
            history=history,
        )


def _windows_in(num_samples: int) -> int:
    return 1 + (num_samples - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES


def aligned(looks: Tensor) -> int:
    """The frame that the last of the tokens is about, by the attention ``[A, m, T]`` of all.

    What each head looks at more than for other tokens, smoothed by a median over seven frames, in
    the mean over heads: as Whisper aligns words.
    """
    deviation, mean = torch.std_mean(looks, dim=1, unbiased=False)
    unusual = (looks[:, -1] - mean) / (deviation + 1e-8)
    smooth = functional.pad(unusual[None], (3, 3), mode="replicate")[0].unfold(-1, 7, 1).median(-1)
    return int(smooth.values.mean(dim=0).argmax())
