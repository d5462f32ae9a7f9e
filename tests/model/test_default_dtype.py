"""A host's default dtype changes nothing: what is built and computed is float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from echostream.baseline.attention import _table
from echostream.config import load_config
from echostream.encoder.attention import relative_positions
from echostream.encoder.chunk_masks import _cached_chunk_masks
from echostream.model import SpeechModel
from echostream.session import SystemOptions, build_translator

DTYPES = (torch.float64, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def usual_dtype() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("config", ["tiny", "streamspeech-tiny"])
def test_a_random_model_computes_the_same(config: str) -> None:
    def computed(before: torch.dtype, after: torch.dtype) -> list[Tensor]:
        for cached in (_cached_chunk_masks, relative_positions, _table):
            cached.cache_clear()
        torch.set_default_dtype(before)
        torch.manual_seed(1)
        model = SpeechModel(load_config(f"configs/{config}.yaml")).eval()
        torch.set_default_dtype(after)
        features = torch.linspace(-1, 1, 200 * 80, dtype=torch.float32).view(1, 200, 80)
        with torch.no_grad():
            y, _, state = model.encoder.step(features, model.encoder.init_state(), is_final=True)
            offline = model.encoder(features, torch.tensor([150]))["encoder_out"]
            heads = [head(y) for head in model.heads.values()]
        return [*heads, y, offline, *(tensor for _, tensor in state.named_tensors())]

    expected = computed(torch.float32, torch.float32)
    for dtype in DTYPES:
        for before, after in ((dtype, dtype), (torch.float32, dtype), (dtype, torch.float32)):
            found = computed(before, after)
            assert [t.dtype for t in found] == [t.dtype for t in expected]
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("decoder", ["greedy", "prefix-beam"])
def test_the_shipped_checkpoint_writes_the_same_words(decoder: str) -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)

    def words(before: torch.dtype, after: torch.dtype) -> tuple[str, ...]:
        torch.set_default_dtype(before)
        translator = build_translator(SystemOptions(decoder=decoder))
        torch.set_default_dtype(after)
        step, _ = translator.step(audio, 16_000, translator.init_state(), is_final=True)
        return step.words

    expected = words(torch.float32, torch.float32)
    for dtype in DTYPES:
        assert words(dtype, dtype) == words(torch.float32, dtype) == expected
