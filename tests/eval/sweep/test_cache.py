"""What is kept is used again only when it is whole and still right."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile

from echostream.decoder import DecoderOutput
from echostream.errors import ConfigError, DataError
from echostream.policy.wait_k import WaitK
from echostream.session import SystemOptions, build_translator
from echostream.session.listener import Listener
from eval.sweep import Encodings, System, encode, run_policy, search
from eval.sweep.encoding_file import encode_source, read_encoding, tensor_names
from eval.sweep.searches import MovableClock, RecordedDecoder, SearchRecord
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
    search(encode(system, corpus.sources(), segment_ms=320, folder=folder))
    return folder


@pytest.fixture
def cache(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "cache"))


def again(system: System, corpus: Corpus, folder: Path, **options: Any) -> tuple[int, Encodings]:
    """How many recordings were encoded."""
    counting = Counting()
    arguments = {"segment_ms": 320, "folder": folder, **options}
    encodings = encode(system, corpus.sources(), progress=counting, **arguments)
    return counting.done.get("encoding", 0), encodings


def test_nothing_is_done_twice(system: System, corpus: Corpus, cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    done, encodings = again(system, corpus, cache)
    counting = Counting()
    search(encodings, progress=counting)
    assert (done, counting.done) == (0, {})
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_call_goes_on_where_it_was(
    after: int, system: System, corpus: Corpus, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        encode(system, corpus.sources(), segment_ms=320, folder=folder, progress=Counting(after))
    whole = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    assert len(whole) == after
    done, encodings = again(system, corpus, folder)
    assert done == 5 - after
    assert all(path.read_bytes() == data for path, data in whole.items())
    with pytest.raises(KeyboardInterrupt):
        search(encodings, progress=Counting(after))
    counting = Counting()
    search(encodings, progress=counting)
    assert counting.done == {"searching": 5 - after}


def test_dying_in_the_middle_of_a_recording_leaves_no_file(
    system: System, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = Listener.step, 0

    def dying(self: Listener, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Listener, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            again(system, corpus, tmp_path)
    # The longest recording has 8 segments and the next 7.
    (encoding,) = tmp_path.rglob("*.safetensors")
    assert len(read_encoding(encoding)[0].segments) == 8
    assert again(system, corpus, tmp_path)[0] == 4


def test_dying_while_a_file_is_written_leaves_no_file(
    system: System, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(part: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            again(system, corpus, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert again(system, corpus, tmp_path)[0] == 5


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[len(data) // 2 :]
    elif how == "empty":
        data.clear()
    elif how == "value":
        data[-3] ^= 1
    elif how == "cost":
        # A digit of the first segment's audio, 320.0 ms, in the header.
        place = data.index(b"320.0")
        data[place] = ord("4")
    elif how == "other":
        data[:] = safetensors.torch.save({}, metadata={"made": "elsewhere"})
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "empty", "value", "cost", "other"])
def test_a_damaged_encoding_is_made_again(
    how: str, system: System, corpus: Corpus, cache: Path
) -> None:
    _, encodings = again(system, corpus, cache)
    path = encodings.path(encodings.sources[0])
    wanted = tensor_names("s2tt")
    good = read_encoding(path, wanted)[1]
    damage(path, how)
    with pytest.raises(DataError, match="run the same command again"):
        read_encoding(path, wanted)
    assert again(system, corpus, cache)[0] == 1
    assert all(good[name].equal(tensor) for name, tensor in read_encoding(path, wanted)[1].items())


@pytest.mark.parametrize("how", ["truncated", "token"])
def test_damaged_searches_are_made_again(
    how: str, system: System, corpus: Corpus, cache: Path
) -> None:
    _, encodings = again(system, corpus, cache)
    searches = search(encodings)
    path = searches.path(encodings.sources[0])
    text = path.read_text()
    content = json.loads(text)
    outputs = content["heads"][1]["outputs"]
    next(stable for stable, _ in outputs if stable)[0][1] += 1
    path.write_text(json.dumps(content) if how == "token" else text[:-100])
    with pytest.raises(DataError):
        searches.load(encodings.sources[0])
    counting = Counting()
    search(encodings, progress=counting)
    assert counting.done == {"searching": 1}
    assert (
        json.loads(path.read_text())["heads"][1]["outputs"]
        == json.loads(text)["heads"][1]["outputs"]
    )


@pytest.mark.parametrize("name", ["st_head.projection.weight", "cmvn_mean", "encoder"])
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

    def of(system: System, **options: Any) -> str:
        # One recording below a frame, so that nothing is waited for.
        sources = corpus.sources()[-1:]
        arguments: dict[str, Any] = {"segment_ms": 320, "folder": tmp_path, **options}
        return encode(system, sources, **arguments).digest

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
        of(system, clock="wall"),
    ]
    config["audio"]["lead_in_samples"] = 0
    (copied / "config.json").write_text(json.dumps(config))
    others.append(of(System(SystemOptions(checkpoint=str(copied), chunk_ms=320))))
    assert len({first, *others}) == 8


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
        encode(system, stale, segment_ms=320, folder=tmp_path / "new")


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
    assert asked(decoder="prefix-beam") == calls
    changed = [dataclasses.replace(source, reference="x") for source in encodings.sources]
    encodings = dataclasses.replace(encodings, sources=tuple(changed))
    assert asked(decoder="prefix-beam") == calls
    assert asked(decoder="prefix-beam") == 0
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


def test_policy_options_belong_to_the_policy_they_were_given_with(
    system: System, corpus: Corpus, cache: Path
) -> None:
    _, encodings = again(system.with_options(policy="wait-k", policy_options="k=5"), corpus, cache)

    def options(**chosen: Any) -> Any:
        folder = run_policy(encodings, output=cache.parent / "run", **chosen)
        return json.loads((folder / "run.json").read_text())["settings"]["policy"]["options"]

    assert options() == {"k": 5}
    assert options(policy_options="k=2") == {"k": 2}
    assert options(policy="wait-k") == {}
    assert options(policy="local-agreement") == {}


def test_each_decoder_setting_has_its_searches(system: System, corpus: Corpus, cache: Path) -> None:
    _, encodings = again(system, corpus, cache)
    for options in ("beam_size=2", "beam_size=3"):
        other = system.with_options(decoder="prefix-beam", decoder_options=options)
        for done in ({"searching": 5}, {}):
            counting = Counting()
            search(encodings, other, progress=counting)
            assert counting.done == done


@pytest.mark.parametrize("task", ["s2tt", "asr"])
def test_decoders_and_policy_are_those_of_the_agent(task: str, checkpoint: Path) -> None:
    options = SystemOptions(
        checkpoint=str(checkpoint), task=task, decoder="prefix-beam", policy="wait-k"
    )
    system = System(options)
    writer = build_translator(options).writer
    hypotheses = writer.generator._hypotheses  # type: ignore[attr-defined]
    assert len(hypotheses) == (1 if task == "asr" else 2)
    for hypothesis, decoder in zip(hypotheses, system.searches().values(), strict=False):
        assert decoder == hypothesis._decoder
        assert decoder.suppress != ()  # type: ignore[attr-defined]
    assert system.policy() == writer.policy


def test_state_sizes_and_costs_can_be_had(system: System, corpus: Corpus, cache: Path) -> None:
    _, encodings = again(system, corpus, cache)
    source = encodings.sources[0]
    segments = encodings.load(source).segments
    assert [segment.audio_ms for segment in segments] == [*range(320, 2300, 320), 2300]
    state = system.listener().init_state().encoder
    assert {segment.state_nbytes for segment in segments} == {state.nbytes}
    assert all(s.costs["front_end"] > 0 and "policy" not in s.costs for s in segments)
    # A chunk of 16 frames in each segment, and a rest: 2300 ms are 115 frames of 20 ms.
    assert [segment.chunks for segment in segments] == [(16,)] * 7 + [(3,)]
    again_made, _ = encode_source(system.listener(), source, 320)
    assert [s.chunks for s in again_made.segments] == [s.chunks for s in segments]


def test_what_cannot_be_asked_for(system: System, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 ms"):
        again(system, corpus, tmp_path, segment_ms=0)
    with pytest.raises(ConfigError, match="'sun'.*cpu, wall"):
        again(system, corpus, tmp_path, clock="sun")
    with pytest.raises(ConfigError, match="jobs is 0"):
        again(system, corpus, tmp_path, jobs=0)
    with pytest.raises(DataError, match="no recordings"):
        encode(system, [], segment_ms=320, folder=tmp_path)
    with pytest.raises(ConfigError, match="threads is 2"):
        system.with_options(threads=2)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        again(system, corpus, tmp_path / "file")


def test_a_replayed_decoder_does_not_go_beyond_its_record() -> None:
    outputs = (DecoderOutput(), DecoderOutput())
    decoder = RecordedDecoder(SearchRecord(outputs, (1.0, 2.0)), clock := MovableClock(lambda: 5.0))
    with pytest.raises(IndexError, match="after 0 of 1"):
        decoder.flush(decoder.init_state())
    _, state = decoder.step(None, decoder.init_state())  # type: ignore[arg-type]
    assert clock() == 6.0
    _, state = decoder.flush(state)
    assert clock() == 8.0
    assert decoder.flush(state) == (DecoderOutput(), state), "a second flush gives nothing"
    assert clock() == 8.0
