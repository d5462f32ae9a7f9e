"""Whisper encoded anew, against its definition."""

import dataclasses

import numpy as np
import pytest
import torch

from echostream.config_whisper import TextDecoderConfig
from echostream.constants import SAMPLE_RATE
from echostream.decoder.text.vocabulary import WhisperVocabulary
from echostream.encoder.whisper import WhisperEncoder
from echostream.training.adaptation.teacher import Teacher
from eval.baselines.reencoding import (
    ALIGNATT,
    FRAMES,
    LOCAL_AGREEMENT,
    OFFLINE,
    WAYS,
    WINDOW,
    Buffer,
    Reencoder,
    aligned,
)
from tests.decoder.text.plain_decoder import random_decoder
from tests.decoder.text.small_vocabulary import TOKENS, tokenizer
from tests.small_system import audio

SEGMENT = 640 * SAMPLE_RATE // 1000
VOCABULARY = WhisperVocabulary(tokenizer(), "es", "s2tt", "word")
CONFIG = TextDecoderConfig(
    vocab_size=len(TOKENS), embed_dim=12, num_layers=2, num_heads=3, ffn_dim=20, max_tokens=80
)


def small(way: str, seed: int = 0) -> tuple[Reencoder, WhisperEncoder, torch.nn.Module]:
    decoder = random_decoder(seed, config=CONFIG)
    with torch.no_grad():
        # Nobody says that nothing is spoken, and texts end.
        decoder.embedding.weight[VOCABULARY.no_speech] *= 0
    encoder = WhisperEncoder(embed_dim=12, num_layers=1, num_heads=2, ffn_dim=16).eval()
    return Reencoder(encoder, decoder, VOCABULARY, way), encoder, decoder


def pushed(reencoder: Reencoder, seconds: float, size: int) -> list[tuple[list[str], Buffer]]:
    """What each segment gave."""
    samples, buffer, found = audio(seconds), reencoder.init_state(), []
    for start in range(0, len(samples), size):
        is_final = start + size >= len(samples)
        words, buffer = reencoder.step(samples[start : start + size], buffer, is_final=is_final)
        found.append((words, buffer))
    return found


def test_agreement_writes_what_two_hypotheses_share() -> None:
    written_early = revised = 0
    for seed in range(3):
        reencoder, *_ = small(LOCAL_AGREEMENT, seed)
        said: list[str] = []
        before = reencoder.init_state()
        hypothesis: list[str] | None = None
        *steps, (_, last) = pushed(reencoder, 4, SEGMENT)
        for words, buffer in steps:
            latest = dataclasses.replace(before, samples=buffer.samples)
            anew = said + [word.text for word in reencoder.hypothesis(latest, None)]
            both = list(zip(anew, hypothesis or [], strict=False))
            count = next((i for i, (a, b) in enumerate(both) if a != b), len(both))
            said += words
            assert said == anew[:count]
            written_early += len(words)
            revised += count < len(hypothesis or [])
            hypothesis, before = anew, buffer
        assert len(last.written) >= len(said), "nothing is taken back at the end"
    assert written_early and revised


def test_alignatt_stops_at_the_end_of_the_audio() -> None:
    reencoder, *_ = small(ALIGNATT)
    stopped = 0
    for seconds in (0.7, 1.4, 2.8, 3.9):
        buffer = dataclasses.replace(reencoder.init_state(), samples=audio(seconds))
        everything, limit = reencoder.hypothesis(buffer, None), int(50 * seconds) - FRAMES
        some = reencoder.hypothesis(buffer, FRAMES)
        assert some == everything[: len(some)]
        assert all(word.frame < limit for word in some)
        if len(some) < len(everything):
            stopped += 1
            assert everything[len(some)].frame >= limit
    assert stopped


@pytest.mark.parametrize("way", WAYS)
def test_the_buffer_is_bounded(way: str) -> None:
    reencoder, *_ = small(way)
    heard = 0
    for _, buffer in pushed(reencoder, 70, 6 * SAMPLE_RATE):
        heard = min(heard + 6 * SAMPLE_RATE, 70 * SAMPLE_RATE)
        assert buffer.base * 320 + len(buffer.samples) == heard
        assert len(buffer.samples) <= WINDOW and len(buffer.history) <= 20
        assert sum(word.num_tokens for word in buffer.written) == len(buffer.tokens)
    assert buffer.base and buffer.written


def test_offline_is_the_decoding_of_the_whole_recording() -> None:
    reencoder, encoder, decoder = small(OFFLINE)
    *steps, (words, _) = pushed(reencoder, 3, SEGMENT)
    assert all(not early for early, _ in steps)
    padded = np.zeros(WINDOW, np.float32)
    padded[: 3 * SAMPLE_RATE] = audio(3)
    frames = torch.from_numpy(Teacher(encoder, 1500)(padded, whole=True).target)
    tokens = list(VOCABULARY.prompt(()))
    prompt = len(tokens)
    barred = torch.zeros(len(TOKENS))
    barred[[each for each in VOCABULARY.suppressed if each != VOCABULARY.end]] = -torch.inf
    while tokens[-1] != VOCABULARY.end and len(tokens) < prompt + CONFIG.max_tokens // 2:
        views = torch.full((1, len(tokens)), 1500)
        with torch.no_grad():
            row = decoder(torch.tensor(tokens)[None], frames[None], views)[0, -1] + barred
        if len(tokens) == prompt:
            row[list(VOCABULARY.suppressed_first)] = -torch.inf
        text = tokens[prompt:]
        for place in range(len(text) - 8):
            if text[place : place + 8] == text[-8:]:
                row[text[place + 8]] = -torch.inf
        tokens.append(int(row.argmax()))
    said = [token for token in tokens[prompt:] if token != VOCABULARY.end]
    assert words and "".join(words) == VOCABULARY.text(said)


def test_a_frame_that_all_tokens_look_at_is_nobodys() -> None:
    looks = torch.zeros(2, 3, 40)
    looks[:, :, 0] = 0.9
    for token, frame in enumerate((10, 20, 30)):
        # Wider than what the median takes for noise.
        looks[:, token, frame - 3 : frame + 4] += torch.tensor([1, 2, 3, 4, 3, 2, 1]) / 100
    looks[0, 2, 5] = 0.05
    assert abs(aligned(looks) - 30) <= 3
