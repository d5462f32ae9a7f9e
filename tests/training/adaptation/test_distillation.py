"""A student of another kind: stored targets, a run, the checkpoint that stands on the teacher."""

import dataclasses
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from echostream.commands import corpus, distil
from echostream.config import AudioConfig, ChunkConformerConfig, save_config
from echostream.decoder.tokenizer import Tokenizer
from echostream.encoder.whisper import WhisperEncoder
from echostream.errors import CheckpointError, ConfigError, DataError
from echostream.model import load_model
from echostream.model.checkpoint import VOCABULARIES
from echostream.session import SystemOptions, build_translator
from echostream.training.adaptation.average import average_checkpoints
from echostream.training.adaptation.decoder_teacher import Lesson
from echostream.training.adaptation.encoder import (
    adapted_weights,
    base_encoder,
    go_on_from,
)
from echostream.training.adaptation.export import export_student, silence_of
from echostream.training.adaptation.low_rank import low_rank_factors, make_low_rank
from echostream.training.adaptation.run import adaptation_arguments
from echostream.training.adaptation.spelling import Speller, make_speller
from echostream.training.adaptation.student import Student, into_system, student_system
from echostream.training.adaptation.targets import read_target, stored_targets
from echostream.training.adaptation.teacher import Teacher
from echostream.training.adaptation.texts import Dictation, Texts
from echostream.training.adaptation.windows import Spoken, Window, WindowMaker, find_recordings
from echostream.training.corpus.manifest import MANIFEST, write_manifest
from echostream.training.fairseq_checkpoints import FAIRSEQ, LAST, load_checkpoint
from echostream.training.fairseq_run import run_fairseq
from echostream.training.run_options import AdaptationOptions
from echostream.training.run_record import read_history
from tests.small_system import ENCODER, SENTENCES, WHISPER, make_whisper
from tests.training.conftest import ROW

from .test_windows import write_tones

pytest.importorskip("fairseq", reason="fairseq is not installed")

from echostream.training.fairseq_plugin.decoder_adaptation import (  # noqa: E402
    DecoderAdaptationConfig,
    DecoderAdaptationTask,
    SystemStudent,
)
from echostream.training.fairseq_plugin.running_average import AveragedParameters  # noqa: E402

FEATURES = AudioConfig(features="whisper")
SYSTEM = dataclasses.replace(WHISPER, audio=FEATURES, encoder=ENCODER, text_decoder=None)


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """Training flushes them, which other tests of the process must not see."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of random weights, targets of it, and a student's configuration."""
    folder = tmp_path_factory.mktemp("base")
    make_whisper(folder / "small-whisper", dataclasses.replace(WHISPER, audio=FEATURES))
    # Some windows, held out ones too, have no translation into English.
    languages = [("es", "en")] * 40 + [("es", "fr")] * 30
    rows = [
        dataclasses.replace(
            ROW,
            id=path.stem,
            audio=path.name,
            src_lang=source,
            tgt_lang=target,
            src_text=said,
            tgt_text=said,
        )
        for path, said, (source, target) in zip(
            write_tones(folder / "audio", len(languages)), cycle(SENTENCES), languages, strict=False
        )
    ]
    write_manifest(folder / "audio" / MANIFEST, rows)
    save_config(SYSTEM, folder / "system.yaml")
    assert targets(folder, 5) == 0  # Two epochs of training, each of which is saved.
    return folder


@pytest.fixture(scope="module")
def taught(base: Path) -> Path:
    """A run of the first stage, and the checkpoint that comes of it."""
    run = base / "run"
    arguments = [str(base / "system.yaml"), "--teacher", str(base / "small-whisper")]
    options = ["--output", str(run), "--updates", "10", "--save-every", "5", "--peak-rate", "1e-2"]
    options += ["--targets", str(base / "targets"), "--chunk-sizes", "16,32", "--workers", "0"]
    assert distil.main([*arguments, *options]) == 0
    return run


class Letters(Tokenizer):
    """A unit is a letter."""

    def __init__(self) -> None:
        pass

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


def targets(base: Path, windows: int) -> int:
    return corpus.main(
        ["targets", str(base / "small-whisper"), "--audio", str(base / "audio")]
        + ["--output", str(base / "targets"), "--windows", str(windows), "--held-out", "1"]
    )


def test_targets_are_the_teachers_and_are_made_once(base: Path) -> None:
    paths = stored_targets(base / "targets", "train")
    before = {path: path.stat().st_mtime_ns for path in paths}
    encoder = base_encoder(base / "small-whisper")
    recordings = find_recordings([base / "audio"])
    for part, groups, seed in (("train", recordings.train, 1), ("valid", recordings.held_out, 0)):
        expected = Teacher(encoder, 1280)(WindowMaker(groups, seed)(0))
        found = read_target(stored_targets(base / "targets", part)[0])
        assert abs(found.target - expected.target).max() < 2e-3 * abs(expected.target).max()
        assert abs(found.features - expected.features).max() < 2e-3
    paths[0].write_bytes(b"{}")
    with pytest.raises(DataError, match="remove it"):
        read_target(paths[0])
    paths[0].unlink()
    assert targets(base, 6) == 0
    assert [path.name for path in stored_targets(base / "targets", "train")] == [
        f"{number:06}.safetensors" for number in range(6)
    ]
    assert before[paths[1]] == paths[1].stat().st_mtime_ns


def test_a_student_learns_and_is_a_system_with_its_teachers_decoder(
    base: Path, taught: Path
) -> None:
    begun, *_, ended = read_history(taught, "held out")
    assert ended["update"] == 10
    assert ended["error_32"] < min(begun["error_32"], 1.0)

    model = load_model(taught)
    assert model.config == student_system(SYSTEM, load_model(base / "small-whisper").config)
    student = Student(SYSTEM, base_encoder(base / "small-whisper"))
    student.load_state_dict(adapted_weights(taught, "encoder."))
    student.eval()
    window = read_target(stored_targets(base / "targets", "valid")[0])
    features = torch.from_numpy(window.features)
    with torch.no_grad():
        expected = student(features[None], chunk_size=32)["encoder_out"][0]
        # What is exported is what was measured, the average, not the weights after the last update.
        error = ((expected - torch.from_numpy(window.target)) / student.spread).square().mean()
        assert ended["error_32"] == pytest.approx(float(error), rel=1e-3)
        last = load_checkpoint(taught / FAIRSEQ / LAST)["model"]
        assert not torch.equal(last["encoder.source_map.weight"], student.source_map.weight)
        normal = torch.from_numpy(model.cmvn(features.numpy()))[None]
        frames = model.encoder(normal, chunk_size=32)["encoder_out"]
        decoder = model.text_decoder
        found = decoder.mapped(frames)[0]
        table = student.spread * student.positions
        expected = expected - table[: len(expected)]
    # Weights are kept as float16, positions in 4 bits.
    assert float((found - expected).norm()) < 0.01 * float(expected.norm())
    assert float((decoder.source_positions - table).norm()) < 0.15 * float(table.norm())
    placed = decoder.silence + table[::10]
    assert float((placed - silence_of(base_encoder(base / "small-whisper"))).abs().max()) < 2e-2
    translator = build_translator(SystemOptions(checkpoint=str(taught), source_language="es"))
    assert translator.settings["model"] == model.fingerprint()
    with pytest.raises(CheckpointError, match="is a Zipformer.*; expected Whisper's"):
        average_checkpoints(taught, taught, 0.5, base / "mean")


def test_heads_learn_from_texts_and_then_the_decoder_does(base: Path, taught: Path) -> None:
    system, teacher = base / "heads.yaml", base / "small-whisper"
    with_heads = dataclasses.replace(SYSTEM, asr_vocab_size=30, st_vocab_size=31)
    save_config(with_heads, system)
    runs = base / "first", base / "second"
    for run, before in zip(runs, (None, runs[0]), strict=True):
        run.mkdir()
        options = AdaptationOptions(2, save_every=2, first_stage=before, student=system)
        arguments = adaptation_arguments(teacher, [base / "audio"], run, options)
        few = ["--valid-windows", "12", "--epoch-windows", "2", "--num-workers", "0"]
        run_fairseq([*arguments, *few])
        export_student(run, teacher, system, base / f"checkpoint-{run.name}")
        found = read_history(run, "held out")[-1]
        assert {"error_32", "asr_ctc_32", "st_ctc_32"} <= found.keys()
        assert ("cross_entropy_32" in found) == (before is not None)
    before, after = (adapted_weights(run, "encoder.") for run in runs)
    kept = {name for name, old in before.items() if torch.equal(old, after[name])}
    assert {"feature_mean", "feature_std", "spread"} <= kept
    learned = {"source_map.weight", "positions", "heads.asr.projection.weight"}
    assert not kept & learned
    folders = [base / f"checkpoint-{run.name}" for run in runs]
    for name in VOCABULARIES.values():
        assert len({(folder / name).read_bytes() for folder in folders}) == 1
    first, second = map(load_model, folders)
    assert second.vocab_sizes == {"asr": 30, "st": 31}
    for head, own in second.heads.items():
        expected = after[f"heads.{head}.projection.weight"]
        assert torch.equal(own.projection.weight, expected.half().float())
    # The first stage says nothing to the decoder.
    name = "layers.0.cross_query.weight"
    decoders = (
        each.text_decoder.get_parameter(name) for each in (load_model(teacher), first, second)
    )
    of_teacher, of_first, of_second = decoders
    assert torch.equal(of_first, of_teacher) and not torch.equal(of_second, of_teacher)
    for generator in ("ctc", "transformer"):
        options = SystemOptions(
            checkpoint=str(folders[1]), source_language="es", generator=generator
        )
        assert build_translator(options).settings["generator"][0] == generator
    # A student goes on from what was exported, in any units.
    again = Student(first.config, base_encoder(teacher))
    decoder = load_model(teacher).text_decoder
    make_low_rank(decoder)
    go_on_from(str(folders[1]), again, decoder)
    again.rescale(torch.rand(again.output_dim) + 0.5)
    back = load_model(folders[0])
    with torch.no_grad():
        into_system(again, back)
    for name, tensor in second.state_dict().items():
        if not name.startswith("text_decoder.") or "source_" in name:
            torch.testing.assert_close(back.state_dict()[name], tensor)
    factors = low_rank_factors(decoder.state_dict())
    assert factors.keys() == low_rank_factors(adapted_weights(runs[1], "decoder.")).keys()
    assert any(left.any() for left, _ in factors.values())
    # Heads may come later than the encoder, which has learned without texts.
    late = Student(first.config, base_encoder(teacher))
    go_on_from(str(taught), late, load_model(teacher).text_decoder)
    expected = adapted_weights(taught, "encoder.")["source_map.weight"]
    assert torch.equal(late.source_map.weight, expected)


def test_a_vocabulary_of_another_size_than_the_smaller_models_is_made_anew(tmp_path: Path) -> None:
    texts = {Path(str(n)): Texts("es", text, text) for n, text in enumerate(SENTENCES)}
    sizes = {"small": 26, "larger": 27, "same": 26}
    for name, size in sizes.items():
        save_config(dataclasses.replace(SYSTEM, asr_vocab_size=size), tmp_path / "system.yaml")
        start = str(tmp_path / "small") if name != "small" else ""
        make_speller(str(tmp_path / "system.yaml"), tmp_path / name, start, texts)
        if name == "small":
            # Not what the texts give now.
            texts = {path: Texts("es", own.transcript + " uvw", "") for path, own in texts.items()}
    made = [tmp_path / name / VOCABULARIES["asr"] for name in sizes]
    assert [Tokenizer.from_file(path).vocab_size for path in made] == [*sizes.values()]
    assert made[2].read_bytes() == made[0].read_bytes()


def test_recordings_longer_than_a_window_are_refused() -> None:
    silence = np.zeros(1, np.float32)
    window = Window(silence, (Spoken(Path("talk.wav"), 0, 480_000, False),), 480_000, silence)
    task = SimpleNamespace(
        teacher=SimpleNamespace(frames=1280, frames_per_second=50),
        _dictator=lambda *_: Dictation((1,), (), is_translation=False),
    )
    with pytest.raises(DataError, match="nobody comes to an end, the last is of talk.wav"):
        DecoderAdaptationTask._sample(task, SimpleNamespace(window=lambda _: window), 0)


@pytest.mark.parametrize("stage", [{"student": "a.yaml"}, {"first_stage": "run"}])
def test_texts_are_learned_from_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, stage: dict[str, Any]
) -> None:
    """Where there is a GPU: what teachers say of texts does not go there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    paths = Path("whisper"), [Path("audio")], Path("run")
    assert "--cpu" in adaptation_arguments(*paths, AdaptationOptions(**stage))
    assert "--cpu" not in adaptation_arguments(*paths, AdaptationOptions())


@pytest.mark.parametrize("kind", ["", "system.yaml"])
def test_what_makes_shapes_few_changes_nothing(base: Path, kind: str) -> None:
    """An independent way: no padding of windows and texts."""
    torch.manual_seed(0)
    student = kind and str(base / kind)
    model = SystemStudent(
        DecoderAdaptationConfig(checkpoint=str(base / "small-whisper"), student=student)
    ).eval()
    features = torch.randn(1, 2 * 150, 80)
    tokens, views = torch.arange(9) + 3, torch.tensor([40, 40, 40, 41, 60, 90, 149, 150])
    lesson = Lesson(tokens, 3, views, torch.zeros(6, 1), is_translation=False)
    with torch.no_grad():
        if student:
            (expected,) = model.encoder(features, chunk_size=16)["encoder_out"]
        else:
            (expected,) = WhisperEncoder.forward(model.encoder, features, chunk_size=16)[
                "encoder_out"
            ]
            expected = expected + model.encoder.position_mean[:150]
        found = model(features, {"chunk_size": 16})["encoder_out"]
        assert found.shape[1] == 256
        torch.testing.assert_close(found[0, :150], expected, atol=1e-5, rtol=1e-5)
        said = model.decoder(tokens[None, :-1], expected[None], views[None])[0, 2:]
        torch.testing.assert_close(model.answers(found, lesson), said, atol=1e-5, rtol=1e-5)


def test_the_average_is_of_what_learns() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1))
    model[1].requires_grad_(False)
    learning = model[0].weight
    torch.nn.init.constant_(learning, 1.0)
    average = AveragedParameters(model)
    average.swap()
    assert learning.item() == 1.0
    # It begins with what is there after an update: a run that goes on has loaded it by then.
    expected = 4.0
    for number, weight in enumerate((4.0, -2.0, 8.0), 1):
        torch.nn.init.constant_(learning, weight)
        average.update(number)
        decay = (1 + number) / (10 + number)
        expected = decay * expected + (1 - decay) * weight
    assert average.values.keys() == {"0.weight"}
    average.swap()
    assert learning.item() == pytest.approx(expected)
    average.swap()
    assert learning.item() == 8.0
    assert average.values["0.weight"].item() == pytest.approx(expected)


def test_what_is_spoken_to_its_end_is_spelled() -> None:
    second = 16000
    window = Window(
        np.zeros(30 * second, np.float32),
        (
            Spoken(Path("a"), 0, 2 * second, is_whole=True),
            Spoken(Path("b"), 3 * second, 5 * second, is_whole=True),
            Spoken(Path("c"), 6 * second, 7 * second, is_whole=False),
        ),
        30 * second,
        np.zeros(30 * second, np.float32),
    )
    texts = {Path(name): Texts("es", f"¡{name.upper()}só!", "") for name in "abc"}
    speller = Speller({"asr": Letters(), "st": Letters()}, texts)
    for heard, said, frames in (
        (1500, "aso bso", 300),
        (251, "aso bso", 251),
        (249, "aso", 150),
        (99, "", 0),
    ):
        spelling = speller(window, heard, 50)
        assert bytes(spelling.units.get("asr", torch.tensor([])).tolist()).decode() == said
        assert spelling.frames == frames and "st" not in spelling.units


def test_what_does_not_fit_is_refused(
    base: Path, taught: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = load_model(base / "small-whisper").config
    conformer = ChunkConformerConfig(embed_dim=16, ffn_dim=16, num_layers=1, num_heads=2)
    with pytest.raises(ConfigError, match="40 ms"):
        student_system(dataclasses.replace(SYSTEM, encoder=conformer), teacher)
    twice_as_many = dataclasses.replace(conformer, subsampling=2)
    assert student_system(dataclasses.replace(SYSTEM, encoder=twice_as_many), teacher)
    save_config(dataclasses.replace(SYSTEM, audio=AudioConfig()), base / "kaldi.yaml")
    for system, more in (("system", ["--first-stage", str(taught)]), ("kaldi", [])):
        arguments = [str(base / f"{system}.yaml"), "--output", str(base / "none"), *more]
        assert distil.main([*arguments, "--targets", str(base / "targets")]) == 1
        assert "expected --audio" in capsys.readouterr().err
    other = dataclasses.replace(ENCODER, ffn_dim=16)
    student = Student(
        dataclasses.replace(SYSTEM, encoder=other), base_encoder(base / "small-whisper")
    )
    with pytest.raises(CheckpointError, match="has taught another encoder"):
        go_on_from(str(taught), student, load_model(base / "small-whisper").text_decoder)
    with pytest.raises(DataError, match="corpus targets"):
        stored_targets(base / "audio", "train")
    path = base / "bad.safetensors"
    safetensors.numpy.save_file({"features": torch.zeros(2).numpy()}, path)
    with pytest.raises(DataError, match="target"):
        read_target(path)
