"""A whole adaptation: resumed, better than before, exported."""

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from echostream.encoder.linear import activated
from echostream.errors import CheckpointError, ConfigError
from echostream.model import SpeechModel, load_model
from echostream.model.difference import low_rank_changes
from echostream.training.adaptation import teacher, voice_activity
from echostream.training.adaptation.average import average_checkpoints
from echostream.training.adaptation.decoder_teacher import DecoderTeacher
from echostream.training.adaptation.encoder import (
    adapted_weights,
    base_decoder,
    go_on_from,
    student_encoder,
)
from echostream.training.adaptation.export import export_adaptation
from echostream.training.adaptation.low_rank import LowRankLinear, low_rank_factors, make_low_rank
from echostream.training.adaptation.run import adaptation_arguments
from echostream.training.adaptation.texts import Dictation, TargetToken
from echostream.training.adaptation.windows import find_recordings
from echostream.training.corpus.manifest import MANIFEST, write_manifest
from echostream.training.fairseq_run import run_fairseq
from echostream.training.run_options import AdaptationOptions
from echostream.training.run_record import read_history
from tests.small_system import WHISPER, make_whisper
from tests.training.conftest import ROW

from .test_windows import write_tones

pytest.importorskip("fairseq", reason="fairseq is not installed")

OPTIONS = AdaptationOptions(updates=6, warmup=1, peak_rate=1e-2, save_every=3)
SMALL = ("--valid-windows", "1", "--epoch-windows", "4", "--num-workers", "0")


@pytest.fixture(scope="module", autouse=True)
def few_windows() -> Iterator[None]:
    """For what is found by hearing some; and training flushes denormal numbers, which other tests
    of the process must not see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "POSITION_WINDOWS", 3)
        patch.setattr(voice_activity, "WINDOWS", 3)
        yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, and recordings beside it."""
    folder = tmp_path_factory.mktemp("base")
    make_whisper(folder / "small-whisper")
    paths = write_tones(folder / "audio", 70)
    rows = [
        dataclasses.replace(ROW, id=p.stem, audio=p.name, src_text="a", tgt_text="b") for p in paths
    ]
    write_manifest(folder / "audio" / MANIFEST, rows)
    return folder


def run(base: Path, output: Path, **changes: object) -> None:
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]
    arguments = adaptation_arguments(base / "small-whisper", [base / "audio"], output, options)
    output.mkdir(exist_ok=True)
    run_fairseq([*arguments, *SMALL])


@pytest.fixture(scope="module")
def whole(base: Path) -> Path:
    """A run of the first stage that was not stopped."""
    run(base, base / "whole")
    return base / "whole"


def test_a_resumed_run_ends_like_one_that_was_not(base: Path, whole: Path, tmp_path: Path) -> None:
    run(base, tmp_path / "halves", minutes=1e-9)
    first = read_history(tmp_path / "halves", "held out")[-1]["update"]
    assert first < 6
    run(base, tmp_path / "halves")
    begun, *_, ended = read_history(whole, "held out")
    assert ended == read_history(tmp_path / "halves", "held out")[-1] and ended["update"] == 6
    assert ended["error_16"] < begun["error_16"]

    recordings = find_recordings([base / "audio"])
    output = base / "adapted"
    export_adaptation(whole, base / "small-whisper", recordings, output)
    before, after = load_model(base / "small-whisper"), load_model(output)
    table = after.encoder.position_mean
    assert table.any() and torch.equal(table, after.text_decoder.source_positions)
    assert not torch.equal(before.encoder.conv1.weight, after.encoder.conv1.weight)
    assert torch.equal(before.text_decoder.positions, after.text_decoder.positions)
    assert any(after.text_decoder.has_speech(torch.randn(200, after.encoder.output_dim)))
    # With the table taken out, what is left has no mean of its own.
    assert after.text_decoder.silence.any()


def test_updates_in_bfloat16_leave_weights_in_float32(
    base: Path, whole: Path, tmp_path: Path
) -> None:
    run(base, tmp_path / "half", bfloat16=True)
    weights = adapted_weights(tmp_path / "half", "encoder.")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    *_, exact = read_history(whole, "held out")
    *_, ended = read_history(tmp_path / "half", "held out")
    assert ended["error_16"] == pytest.approx(exact["error_16"], rel=0.1)
    assert ended["error_16"] != exact["error_16"]


@pytest.fixture(scope="module")
def second(base: Path, whole: Path) -> Path:
    """A run of the second stage, whose checkpoint is ``both``."""
    run(base, base / "second", updates=20, save_every=10, first_stage=whole)
    recordings = find_recordings([base / "audio"])
    export_adaptation(base / "second", base / "small-whisper", recordings, base / "both")
    return base / "second"


def test_the_second_stage_teaches_the_decoder_what_is_said(base: Path, second: Path) -> None:
    begun, *_, ended = read_history(second, "held out")
    assert ended["cross_entropy_32"] < begun["cross_entropy_32"] < 6
    assert {"wer_32", "bleu_32"} & ended.keys()
    factors = low_rank_factors(adapted_weights(second, "decoder."))
    before, after = (load_model(base / name).text_decoder for name in ("small-whisper", "both"))
    assert len(factors) == 10
    for name, (left, right) in factors.items():
        change = after.get_parameter(name) - before.get_parameter(name)
        product = left @ right
        # Both factors are stored in 4 bits.
        assert (change - product).norm() < 0.25 * product.norm()
    assert torch.equal(before.embedding.weight, after.embedding.weight)

    # A run goes on from what was exported.
    encoder, decoder = (
        student_encoder(base / "small-whisper", ""),
        base_decoder(base / "small-whisper"),
    )
    make_low_rank(decoder)
    go_on_from(str(base / "both"), encoder, decoder)
    exported = load_model(base / "both")
    assert torch.equal(encoder.layers[0].ffn_in.weight, exported.encoder.layers[0].ffn_in.weight)
    assert torch.equal(encoder.position_mean, exported.encoder.position_mean)
    for name in factors:
        layer = decoder.get_submodule(name.removesuffix(".weight"))
        assert isinstance(layer, LowRankLinear)
        expected = torch.nn.Linear(layer.in_features, layer.out_features)
        expected.weight, expected.bias = after.get_parameter(name), layer.bias
        x = torch.randn(3, layer.in_features)
        found = layer.added_to(torch.zeros(3, layer.out_features), x)
        torch.testing.assert_close(found, activated(expected(x), layer.activation))
    assert encoder.config.right_context == exported.config.encoder.right_context == 16
    for wrong in (base / "small-whisper", base / "audio"):
        with pytest.raises(CheckpointError, match="expected"):
            go_on_from(str(wrong), encoder, decoder)


def test_a_mean_of_two_checkpoints_is_between_them(
    base: Path, second: Path, tmp_path: Path
) -> None:
    run(base, base / "third", updates=8, first_stage=second, peak_rate=2e-2)
    recordings = find_recordings([base / "audio"])
    export_adaptation(base / "third", base / "small-whisper", recordings, base / "later")
    average_checkpoints(base / "both", base / "later", 0.5, base / "mean")
    one, other, mean = (load_model(base / name).state_dict() for name in ("both", "later", "mean"))
    factors = low_rank_changes(base / "mean")
    for name, weight in mean.items():
        if name in factors:
            # The nearest change of its rank, with both factors in 4 bits.
            apart = (one[name] - other[name]).norm()
            assert (weight - (one[name] + other[name]) / 2).norm() < 0.3 * apart, name
        elif weight.is_floating_point():
            wanted = (one[name] + other[name]) / 2
            assert (weight - wanted).norm() <= 0.03 * wanted.norm(), name
    assert len(factors) == 10
    for wrong in (base / "small-whisper", base / "adapted"):
        with pytest.raises(CheckpointError):
            average_checkpoints(base / "both", wrong, 0.5, tmp_path)
    with pytest.raises(ConfigError, match="share is 1"):
        average_checkpoints(base / "both", base / "later", 1.0, tmp_path)


def test_the_decoder_teacher_answers_as_the_decoder_does_offline() -> None:
    torch.manual_seed(0)
    decoder = SpeechModel(WHISPER).text_decoder.eval()
    decoder.source_positions.normal_()
    teacher = DecoderTeacher(decoder, 20)
    frames, prompt = torch.randn(50, 16), (1, 2, 3)
    said = tuple(
        TargetToken(id, begin, begin + 0.2) for id, begin in ((9, 0.1), (10, 0.5), (0, 0.9))
    )
    lesson = teacher(Dictation(prompt, said, True), frames, 50, random.Random(1))
    assert lesson.tokens.tolist() == [1, 2, 3, 9, 10, 0]
    whole = decoder(lesson.tokens[None, :-1], frames[None], torch.full((1, 5), 50))
    expected = whole[0, 2:].log_softmax(dim=-1).half()
    torch.testing.assert_close(lesson.log_probs, expected, rtol=1e-2, atol=1e-2)
    views = lesson.views.tolist()
    # The prompt sees what the first word sees, words wait for what they are about.
    assert views[0] == views[1] == views[2] and views == sorted(views)
    assert views[2] > 0.1 * 50 and views[3] > 0.5 * 50 and views[-1] == 50
