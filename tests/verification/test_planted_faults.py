"""Faults planted in what a stream carries are found, and the module they are in is named."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from echostream.audio import FrontEnd
from echostream.baseline.layer import ConvolutionModule
from echostream.config import ChunkConformerConfig, SystemConfig, save_config
from echostream.encoder import StreamState, attention, zipformer
from echostream.encoder.memory_bank import MemoryState
from echostream.encoder.stem import StemState
from echostream.session import SystemOptions, Translator, build_translator
from echostream.verification import agent_scenarios
from echostream.verification.verify import CRASH
from tests.encoder.small_encoder import keep_nothing_prepared
from tests.encoder.test_planted_faults import late_cache

Patch = pytest.MonkeyPatch


def module_of(translator: Translator, name: str) -> nn.Module:
    return translator.listener.model.encoder.get_submodule(name)


def doubled(translator: Translator) -> Translator:
    """With the model in float64, so that a method taken from one of its modules fits the copy of
    the model that is verified in that precision."""
    translator.listener.model.double()
    return translator


def one_frame_late(kept: Any) -> Any:
    """What a module hands on, one frame late."""
    if isinstance(kept, Tensor):
        return kept.roll(1, dims=1)
    if isinstance(kept, MemoryState):
        return MemoryState(kept.groups.roll(1, dims=1))
    return StemState(kept.features.roll(1, dims=1))


def hands_on_late(patch: Patch, module: nn.Module) -> None:
    good = module.forward

    def forward(*args: Any) -> Any:
        y, kept = good(*args)
        return y, one_frame_late(kept)

    patch.setattr(module, "forward", forward)


def test_off_by_one_in_all_caches_of_a_kind(verified, monkeypatch: Patch) -> None:
    keep_nothing_prepared(monkeypatch)
    late_cache(attention)(monkeypatch)
    certificate = verified(scenarios=("ragged cuts",))
    assert not certificate.equal
    assert certificate.first_break.difference.module == "stacks.0.layers.0.attention_weights"
    assert certificate.first_break.difference.share > 10


@pytest.mark.parametrize(
    "name",
    [
        "stem",
        "stacks.5.layers.0.convolution1",
        "stacks.1.layers.0.attention_weights",
        "stacks.2.layers.0.self_attention1",
        "memory",
    ],
)
def test_the_one_faulty_module_is_named(verified, translate, name: str, monkeypatch: Patch) -> None:
    translator = doubled(translate())
    hands_on_late(monkeypatch, module_of(translator, name))
    first = verified(translator, scenarios=("ragged cuts",)).first_break
    assert first.difference.module == name
    assert first.difference.share > 1000
    if name == "memory":
        # Eight frames a group, chunks of sixteen: the second chunk is the first that reads a group.
        assert first.difference.first_frame == 16


def test_fault_in_down_sampling_of_a_single_chunk(verified, translate, monkeypatch: Patch) -> None:
    translator = doubled(translate())
    module = module_of(translator, "stacks.2.downsample")
    good = module.forward

    def forward(x: Tensor, valid: Any) -> Tensor:
        y = good(x, valid)
        return y.roll(1, dims=1) if x.shape[1] == 16 else y

    monkeypatch.setattr(module, "forward", forward)
    first = verified(translator, scenarios=("silence",), seed=3).first_break
    assert first.difference.module == "stacks.2.downsample"


def exchanged_rows(patch: Patch) -> None:
    """Streams that go on while others wait get each other's states."""
    good = StreamState.with_rows
    patch.setattr(StreamState, "with_rows", lambda self, rows, of: good(self, rows.flip(0), of))


def lost_cache(patch: Patch) -> None:
    """A restored stream lacks what one convolution had heard."""
    good = zipformer.ZipformerEncoder.restore

    def restore(encoder: zipformer.ZipformerEncoder, data: bytes) -> StreamState:
        return good(encoder, data).map(
            lambda name, x: x * 0 if name.startswith("stacks.3.") and name.endswith("conv2") else x
        )

    patch.setattr(zipformer.ZipformerEncoder, "restore", restore)


def always_the_whole_chunk(patch: Patch) -> None:
    good = zipformer.cached_chunk_masks

    def masks(heard: Any, lengths: Any, settings: Any, device: Any) -> Any:
        return good(heard, lengths, dataclasses.replace(settings, max_future_frames=None), device)

    patch.setattr(zipformer, "cached_chunk_masks", masks)


def lost_sample(patch: Patch) -> None:
    """A sample is lost in segments of a single one."""
    good = FrontEnd.step

    def step(self: FrontEnd, samples: Any, *args: Any) -> Any:
        return good(self, samples[:0] if len(samples) == 1 else samples, *args)

    patch.setattr(FrontEnd, "step", step)


def forgotten_words(patch: Patch) -> None:
    """A restored stream has forgotten what was to be said."""
    good = agent_scenarios.restore_stream

    def restore(translator: Translator, data: bytes) -> Any:
        writer = translator.init_state().writer
        return dataclasses.replace(good(translator, data), writer=writer)

    patch.setattr(agent_scenarios, "restore_stream", restore)


@pytest.mark.parametrize(
    ("plant", "changes", "scenario", "module"),
    [
        (
            exchanged_rows,
            {"scenarios": ("ragged cuts", "batch of lengths")},
            "batch of lengths",
            None,
        ),
        (
            lost_cache,
            {"scenarios": ("ragged cuts", "saved and restored")},
            "saved and restored",
            "stacks.3.layers.0.convolution2",
        ),
        (
            always_the_whole_chunk,
            {"trials": 3, "scenarios": ("ragged cuts", "other chunkings")},
            "other chunkings",
            None,
        ),
        (
            lost_sample,
            {"scenarios": ("agent: single samples", "agent: saved and restored")},
            "agent: single samples",
            "front_end",
        ),
        (
            forgotten_words,
            {"scenarios": ("agent: any segments", "agent: saved and restored")},
            "agent: saved and restored",
            "words",
        ),
    ],
)
def test_fault_that_only_one_scenario_shows(
    verified,
    plant: Callable[[Patch], None],
    changes: dict[str, Any],
    scenario: str,
    module: str | None,
    monkeypatch: Patch,
) -> None:
    plant(monkeypatch)
    precision = "float32" if scenario.startswith("agent") else "float64"
    certificate = verified(precision=precision, **changes)
    assert [r.scenario for r in certificate.results if not r.equal] == [scenario]
    assert certificate.first_break.scenario == scenario
    assert module in (None, certificate.first_break.difference.module)


def test_an_exception_is_a_finding(verified, monkeypatch: Patch) -> None:
    good = zipformer.ZipformerEncoder.step

    def step(self: Any, features: Tensor, *args: Any, **options: Any) -> Any:
        if features.shape[1] == 1:
            raise IndexError("one frame is too few")
        return good(self, features, *args, **options)

    monkeypatch.setattr(zipformer.ZipformerEncoder, "step", step)
    first = verified(scenarios=("single frames",)).first_break
    assert first.difference.module == CRASH
    assert first.difference.problem == "IndexError: one frame is too few"


@pytest.fixture
def baseline(tmp_path: Any) -> Callable[[], Translator]:
    def make() -> Translator:
        encoder = ChunkConformerConfig(
            embed_dim=16, ffn_dim=32, num_layers=2, num_heads=2, conv_channels=16, conv_kernel=7
        )
        config = SystemConfig(asr_vocab_size=30, st_vocab_size=30, encoder=encoder)
        save_config(config, tmp_path / "small.yaml")
        return build_translator(SystemOptions(random_weights=str(tmp_path / "small.yaml")))

    return make


def test_the_baseline_is_verified_too(verified, baseline, monkeypatch: Patch) -> None:
    certificate = verified(baseline(), precision="all", seconds=1.2)
    assert certificate.equal
    assert [precision for _, precision in certificate.subjects] == [
        f"{precision} {mode}"
        for precision in ("float64", "float32")
        for mode in ("cached", "recompute")
    ]
    good = ConvolutionModule.forward

    def forward(self: ConvolutionModule, *args: Any) -> Any:
        y, past = good(self, *args)
        return y, past.roll(1, dims=2)

    monkeypatch.setattr(ConvolutionModule, "forward", forward)
    certificate = verified(baseline(), scenarios=("ragged cuts",))
    assert certificate.first_break.difference.module == "conformer_layers.0.conv_module"
    cached, recompute = certificate.subjects
    assert certificate.first_break_of(cached) is not None
    assert certificate.first_break_of(recompute) is None
