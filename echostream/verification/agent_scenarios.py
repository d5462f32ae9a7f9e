"""The whole agent, from samples to words, against the same audio at once.

Symbols: ``n`` samples, ``C`` encoder channels, ``V`` CTC vocabulary.

Offline the front end takes all samples at once, ``forward`` encodes all frames, the heads see all
of them, and the writer gets the chunks one after the other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.decoder.generator import EncodedChunk
from echostream.session import Translator, Turn
from echostream.session.listener import Listener
from echostream.session.saved_stream import restore_stream, save_stream
from echostream.verification.recorder import Frames, calls_of, joined
from echostream.verification.scenarios import Scenario, Trial

FRONT_END, WORDS = "front_end", "words"

_SINGLE_RUN = 400
"""Samples pushed one by one around the end of a chunk."""
_REFERENCE = " ".join(f"word{number}" for number in range(40))
_OTHER_RATE = 44_100


def with_encoder(translator: Translator, encoder: Any) -> Translator:
    """The translator with an encoder of the same weights, at the configuration's own chunking."""
    given = translator.listener
    listener = Listener(
        given.model, given.front_end, heads=tuple(given.heads), chunking={}, encoder=encoder
    )
    return Translator(listener, translator.writer, translator.settings)


def any_segments(trial: Trial) -> None:
    """Segments of any size, empty ones among them."""
    samples = trial.audio()
    _compare(trial, samples, trial.cuts(len(samples)))


def single_samples(trial: Trial) -> None:
    """Segments of one sample, at the start and around the ends of chunks."""
    samples = trial.audio()
    state = trial.translator.init_state()
    frame_ms = trial.subject.model.encoder.frame_ms
    encoder = state.listener.encoder
    frames = 2 * encoder.chunk_size + encoder.right_context
    end = frames * frame_ms * SAMPLE_RATE // 1000
    singles = {*range(1, _SINGLE_RUN), *range(end - _SINGLE_RUN // 2, end + 200)}
    _compare(trial, samples, sorted(cut for cut in singles if cut < len(samples)))


def saved_streams(trial: Trial) -> None:
    """The whole agent goes through bytes in mid-stream."""
    samples = trial.audio()
    _compare(trial, samples, trial.cuts(len(samples), most=3), saved=True)


def other_rate(trial: Trial) -> None:
    """Stereo at 44.1 kHz."""
    left, right = trial.audio(), trial.audio()
    size = min(len(left), len(right))
    samples = np.stack((left[:size], right[:size]), axis=1)
    _compare(trial, samples, trial.cuts(len(samples)), rate=_OTHER_RATE)


def _compare(
    trial: Trial,
    samples: NDArray[np.float32],
    cuts: Sequence[int],
    *,
    rate: int = SAMPLE_RATE,
    saved: bool = False,
) -> None:
    offline, expected = _offline(trial, samples, rate)
    pieces = np.split(samples, cuts)
    streamed, turns = _streamed(trial, pieces, rate, saved)
    tally = trial.tally
    tally.add(streamed, offline)
    for place, (found, wanted) in enumerate(zip(turns, expected, strict=False)):
        if _said(found) != _said(wanted):
            told = f"{_said(found)} in the stream, {_said(wanted)} offline"
            return tally.fail(WORDS, f"turn {place}: {told}")
    if len(turns) != len(expected):
        return tally.fail(WORDS, f"{len(turns)} turns in the stream, {len(expected)} offline")
    tally.agree(WORDS, sum(len(turn.words) for turn in expected))


def _reference(trial: Trial) -> str | None:
    """The words of a forced writer."""
    return _REFERENCE if trial.forced else None


def _said(turn: Turn) -> tuple[int, int, tuple[str, ...]]:
    return turn.num_chunks, turn.audio_ms, turn.words


def _front_end_frames(
    trial: Trial, pieces: Sequence[NDArray[np.float32]], rate: int
) -> torch.Tensor:
    """``[T, F]``: what the front end gives for samples pushed in these pieces."""
    front_end = trial.translator.listener.front_end
    state = front_end.init_state()
    parts = []
    for piece in pieces:
        features, state = front_end.step(piece, rate, state)
        parts.append(features)
    parts.append(front_end.flush(state)[0])
    return torch.from_numpy(np.concatenate(parts))


@torch.no_grad()
def _offline(
    trial: Trial, samples: NDArray[np.float32], rate: int
) -> tuple[Frames, tuple[Turn, ...]]:
    subject, translator = trial.subject, trial.translator
    model = subject.model
    features = _front_end_frames(trial, [samples], rate)
    frames: Frames = {FRONT_END: (features,)}
    with subject.recorder(heads=True) as recorder:
        if subject.precision == "int8":
            start = subject.init_state(1, {})
            y = subject.encoder.step(features[None], start, is_final=True)[0]
        else:
            y = model.encoder(features[None])["encoder_out"]
        log_probs = {name: head(y)[0] for name, head in translator.listener.heads.items()}
        frames |= recorder.take([(y.shape[1],)])
    size = translator.init_state().listener.encoder.chunk_size
    chunks = [
        EncodedChunk(
            chunk,
            {name: each[start : start + size] for name, each in log_probs.items()},
            is_whole=len(chunk) == size,
        )
        for start, chunk in zip(range(0, y.shape[1], size), y[0].split(size), strict=False)
    ]
    writer = translator.writer
    turns, _, _ = writer.step(chunks, writer.init_state(_reference(trial)), is_final=True)
    return frames, turns


def _streamed(
    trial: Trial, pieces: Sequence[NDArray[np.float32]], rate: int, saved: bool
) -> tuple[Frames, tuple[Turn, ...]]:
    subject, translator = trial.subject, trial.translator
    state = translator.init_state(_reference(trial))
    size = state.listener.encoder.chunk_size
    parts: list[Frames] = []
    turns: list[Turn] = []
    with subject.recorder(heads=True) as recorder:
        for place, piece in enumerate(pieces):
            final = place == len(pieces) - 1
            before = int(state.listener.encoder.processed_frames)
            step, state = translator.step(piece, rate, state, is_final=final)
            new = int(state.listener.encoder.processed_frames) - before
            parts.append(recorder.take(calls_of((new,), size)))
            turns += step.turns
            if saved and not final:
                state = restore_stream(translator, save_stream(translator, state))
    streamed = {FRONT_END: (_front_end_frames(trial, pieces, rate),)} | joined(parts)
    return streamed, tuple(turns)


AGENT: dict[str, Scenario] = {
    "agent: any segments": any_segments,
    "agent: single samples": single_samples,
    "agent: stereo at 44.1 kHz": other_rate,
    "agent: saved and restored": saved_streams,
}
