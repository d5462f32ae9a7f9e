"""What is kept is used again only when it is whole and still right."""

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile

from echostream.errors import ConfigError, DataError
from echostream.policy.policies import WaitK
from echostream.session import SystemOptions
from echostream.shipped import SHIPPED_CHECKPOINT
from eval.sweep import Encodings, System, Work, encode, run_policy
from eval.sweep.kept import read_kept
from tests.eval.sweep.conftest import Corpus
from tests.eval.sweep.policies import Undecided
from tests.small_system import audio


class Counting:
    """A progress bar that counts what was really done, and may be interrupted."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.done: dict[str, int] = {}
        self._interrupt_after = interrupt_after

    def __call__(self, items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
        what = what.split(",")[0]
        for item in items:
            self.done[what] = self.done.get(what, 0) + 1
            yield item
            if self.done[what] == self._interrupt_after:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def system(checkpoint: Path) -> System:
    return System(SystemOptions(checkpoint=str(checkpoint), chunk_ms=320))


@pytest.fixture(scope="module")
def kept(system: System, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    encode(system, corpus.sources(), segment_ms=320, work=Work(folder))
    return folder


@pytest.fixture
def cache(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "cache"))


def again(
    system: System, corpus: Corpus, folder: Path, segment_ms: int = 320, **work: Any
) -> tuple[int, Encodings]:
    """How many recordings were encoded."""
    counting = Counting()
    how = Work(folder, progress=counting, **work)
    encodings = encode(system, corpus.sources(), segment_ms=segment_ms, work=how)
    return counting.done.get("encoding", 0), encodings


def test_an_interrupted_call_goes_on_where_it_was(
    system: System, corpus: Corpus, tmp_path: Path
) -> None:
    work = Work(tmp_path, progress=Counting(2))
    with pytest.raises(KeyboardInterrupt):
        encode(system, corpus.sources(), segment_ms=320, work=work)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(whole) == 2
    assert again(system, corpus, tmp_path)[0] == 3
    assert all(path.read_bytes() == data for path, data in whole.items())


@pytest.mark.parametrize("how", ["truncated", "empty", "value", "other"])
def test_what_is_damaged_is_made_again(
    how: str, system: System, corpus: Corpus, cache: Path
) -> None:
    _, encodings = again(system, corpus, cache)
    path = encodings.path(encodings.sources[0])
    good, before = path.read_bytes(), read_kept(path)
    damaged = {
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "value": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        "other": safetensors.torch.save({}, metadata={"made": "elsewhere"}),
    }[how]
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="run the same command again"):
        read_kept(path)
    assert again(system, corpus, cache)[0] == 1
    assert read_kept(path).frames.equal(before.frames)


@pytest.mark.parametrize("name", ["st_head.projection.weight", "cmvn_mean"])
def test_a_changed_weight_uses_nothing_old(
    name: str, checkpoint: Path, corpus: Corpus, cache: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "changed"))
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensor = next(tensor for key, tensor in tensors.items() if key.startswith(name))
    tensor.view(-1)[0] = np.nextafter(tensor.view(-1)[0].item(), np.inf, dtype=np.float32).item()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    changed = System(SystemOptions(checkpoint=str(folder), chunk_ms=320))
    assert again(changed, corpus, cache)[0] == 5


def test_what_an_encoding_depends_on(
    checkpoint: Path, system: System, corpus: Corpus, kept: Path, tmp_path: Path
) -> None:
    """Looked at through the digest alone: another one means other files."""
    first = again(system, corpus, kept)[1].digest

    def of(system: System, segment_ms: int = 320, **work: Any) -> str:
        # One recording below a frame, so that nothing is waited for.
        sources, how = corpus.sources()[-1:], Work(tmp_path, **work)
        return encode(system, sources, segment_ms=segment_ms, work=how).digest

    assert of(system) == first
    assert of(System(SystemOptions(checkpoint=str(checkpoint)))) == first, "320 is the default"
    assert of(system.with_options(policy="wait-k", decoder="prefix-beam")) == first
    copied = Path(shutil.copytree(checkpoint, tmp_path / "elsewhere"))
    config = json.loads((copied / "config.json").read_text())
    config["policy"] = {"name": "wait-k", "options": {"k": 7}}
    (copied / "config.json").write_text(json.dumps(config))
    assert of(System(SystemOptions(checkpoint=str(copied), chunk_ms=320))) == first
    others = [
        of(system.with_options(chunk_ms=640)),
        of(system.with_options(left_context_ms=320)),
        of(system.with_options(max_future_frames="0")),
        of(system.with_options(task="asr")),
        of(system, segment_ms=321),
    ]
    config["audio"]["lead_in_samples"] = 0
    (copied / "config.json").write_text(json.dumps(config))
    others.append(of(System(SystemOptions(checkpoint=str(copied), chunk_ms=320))))
    assert len({first, *others}) == 7


def test_recordings_go_by_their_content(system: System, cache: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for seed, path in zip((1, 2, 1), paths, strict=True):
        soundfile.write(path, audio(0.4, seed=seed), 16_000)
    lists = [tmp_path / "wavs", tmp_path / "texts"]
    lists[0].write_text("".join(f"{path}\n" for path in paths))
    lists[1].write_text("one\ntwo\nthree\n")
    corpus = Corpus(*lists)
    assert again(system, corpus, cache)[0] == 2, "two of the three are the same"
    soundfile.write(paths[1], audio(0.4, seed=3), 16_000)
    assert again(system, corpus, cache)[0] == 1, "the same path, another recording"
    stale = corpus.sources()
    soundfile.write(paths[1], audio(0.4, seed=4), 16_000)
    with pytest.raises(DataError, match=r"b\.wav.*was changed"):
        encode(system, stale, segment_ms=320, work=Work(tmp_path / "new"))


def test_a_finished_run_is_recognised(system: System, corpus: Corpus, cache: Path) -> None:
    _, encodings = again(system, corpus, cache)
    output = cache.parent / "run"

    def asked(**options: Any) -> int:
        before = Undecided.asked
        run_policy(
            encodings, output=output, policy="tests.eval.sweep.policies:Undecided", **options
        )
        return Undecided.asked - before

    calls = asked()
    assert calls > 10
    log = (output / "instances.log").read_bytes()
    assert asked() == 0
    (output / "instances.log").write_bytes(log[:-10])
    assert asked() == calls, "a truncated log"
    (output / "run.json").unlink()
    assert asked() == calls, "interrupted before the last file"
    assert asked(forced=True) == calls, "another run in the same folder"
    assert asked() == calls
    other = encodings.system.with_options(decoder="prefix-beam")
    encodings = dataclasses.replace(encodings, system=other)
    assert asked() == calls, "another decoder"
    changed = [dataclasses.replace(source, reference="x") for source in encodings.sources]
    encodings = dataclasses.replace(encodings, sources=tuple(changed))
    assert asked() == calls, "other references"
    assert asked() == 0
    assert b'"reference": "x"' in (output / "instances.log").read_bytes()


def test_an_interrupted_replay_leaves_no_run(
    system: System, corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, encodings = again(system, corpus, cache)
    decide, calls = WaitK.decide, 0

    def dying(self: WaitK, context: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise KeyboardInterrupt
        return decide(self, context)

    output = cache.parent / "run"
    with monkeypatch.context() as patch:
        patch.setattr(WaitK, "decide", dying)
        with pytest.raises(KeyboardInterrupt):
            run_policy(encodings, output=output, policy="wait-k")
    assert not output.exists()
    run_policy(encodings, output=output, policy="wait-k")
    assert len((output / "instances.log").read_text().splitlines()) == 5
    progress = encodings.work.progress
    assert isinstance(progress, Counting) and progress.done["run"] == 5, "no recording twice"
    assert not list(encodings.work.folder.glob("replays/*"))


def test_two_processes_write_what_one_writes(corpus: Corpus, tmp_path: Path) -> None:
    # The shipped checkpoint has language models.
    system = System(SystemOptions(checkpoint=str(SHIPPED_CHECKPOINT), decoder="prefix-beam"))
    sources = corpus.sources()
    one, two = (
        encode(system, sources, segment_ms=320, work=Work(tmp_path / str(jobs), jobs))
        for jobs in (1, 2)
    )
    for source in sources:
        first, second = (read_kept(each.path(source)) for each in (one, two))
        assert [s.chunks for s in first.segments] == [s.chunks for s in second.segments]
        assert first.frames.equal(second.frames)
        assert all(second.log_probs[head].equal(x) for head, x in first.log_probs.items())
    logs = [
        (run_policy(each, output=tmp_path / f"run {jobs}") / "instances.log").read_text()
        for jobs, each in ((1, one), (2, two))
    ]
    predictions = [[line.partition('"elapsed"')[0] for line in log.splitlines()] for log in logs]
    assert predictions[0] == predictions[1]


def test_policy_options_belong_to_the_policy_they_were_given_with(
    system: System, corpus: Corpus, cache: Path
) -> None:
    _, encodings = again(system.with_options(policy="wait-k", policy_options="k=5"), corpus, cache)

    def options(**chosen: Any) -> Any:
        folder = run_policy(encodings, output=cache.parent / "run", **chosen)
        return json.loads((folder / "run.json").read_text())["settings"]["policy"]["options"]

    assert options() == {"k": 5}
    assert options(policy="wait-k") == {}
    assert options(policy="wait-k", policy_options="k=2") == {"k": 2}
    assert options(policy="local-agreement") == {}


def test_what_cannot_be_asked_for(system: System, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings"):
        encode(system, [], segment_ms=320, work=Work(tmp_path))
    with pytest.raises(ConfigError, match="threads is 2"):
        system.with_options(threads=2)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        again(system, corpus, tmp_path / "file")
