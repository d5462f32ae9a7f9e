"""`echostream language-model`: what it reads, and that the agent's search uses what it writes."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from echostream.commands.language_model import main
from echostream.config import DecoderConfig
from echostream.decoder import NgramModel, Tokenizer
from echostream.errors import CheckpointError, ConfigError
from echostream.model.checkpoint import load_config_json, save_config_json
from echostream.session import SystemOptions, build_translator
from echostream.session.build import build_model, build_searches
from echostream.shipped import SHIPPED_CHECKPOINT
from echostream.training.language_model import make_language_models
from echostream.training.recipes.parallel_text import sentence_pair, write_texts

WORDS = (
    *("green", "red", "blue", "old", "ripe", "wild"),
    *("cold", "sweet", "sour", "new", "dry", "good"),
)
USED = "lm_weight=0.5,unit_bonus=1.0"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the shipped checkpoint, without language models."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(SHIPPED_CHECKPOINT, folder)
    for path in folder.glob("*.ngram"):
        path.unlink()
    config = load_config_json(folder)
    plain = DecoderConfig("prefix-beam", {"blank_penalty": 1.0})
    save_config_json(replace(config, decoder=plain), folder)
    return folder


def favourite(checkpoint: Path, file: str, text: str) -> str:
    """What the model finds most probable after a text."""
    tokenizer = Tokenizer.from_file(checkpoint / file.replace("ngram", "model"))
    model = NgramModel.from_file(checkpoint / file)
    history = (model.start, *tokenizer.encode(text))
    return tokenizer.decode([int(model.log_probs(history).argmax())])


def options(checkpoint: Path, **more: str) -> SystemOptions:
    return SystemOptions(checkpoint=str(checkpoint), **more)  # type: ignore[arg-type]


def test_only_the_training_side_is_read(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    words = [f"{size} {colour}" for size in ("big", "small") for colour in WORDS]
    pairs = [sentence_pair("a", "none", f"{word} apples", f"{word} manzanas") for word in words]
    by_side = {split: [p for p in pairs if p.split == split] for split in ("train", "dev", "test")}
    assert all(by_side.values())
    texts = tmp_path / "texts.tsv"
    write_texts(texts, pairs)
    source, target = make_language_models(checkpoint, corpus, texts=texts, least_count=1)
    sizes = source.num_ngrams, target.num_ngrams
    write_texts(texts, by_side["train"])
    again = make_language_models(checkpoint, corpus, texts=texts, least_count=1)
    assert tuple(model.num_ngrams for model in again) == sizes
    write_texts(texts, by_side["dev"] + by_side["test"])
    without = make_language_models(checkpoint, corpus, texts=texts, least_count=1)
    assert without[1].num_ngrams < sizes[1]


def test_each_side_has_its_own_texts(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--data", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.startswith("echostream language-model: error: ")
    pair = sentence_pair("a", "none", "green apples", "manzanas verdes")
    assert pair.split == "train"
    texts = tmp_path / "texts.tsv"
    write_texts(texts, [pair] * 9)
    command = [str(checkpoint), "--data", str(corpus), "--texts", str(texts)]
    assert main(command) == 0
    assert "green apple".startswith(f"green {favourite(checkpoint, 'target.ngram', 'green')}")
    assert main([*command, "--source-is-english"]) == 0
    assert "green apple".startswith(f"green {favourite(checkpoint, 'source.ngram', 'green')}")
    # One of both can be made anew, with other texts.
    before = {name: (checkpoint / name).read_bytes() for name in ("source.ngram", "target.ngram")}
    assert main([*command[:3], "--only", "source"]) == 0
    assert (checkpoint / "source.ngram").read_bytes() != before["source.ngram"]
    assert (checkpoint / "target.ngram").read_bytes() == before["target.ngram"]


def test_the_search_of_the_agent_uses_them(checkpoint: Path, corpus: Path) -> None:
    with pytest.raises(CheckpointError, match=r"source\.ngram"):
        build_translator(options(checkpoint, decoder_options=USED))
    make_language_models(checkpoint, corpus)
    model = build_model(options(checkpoint))
    for given, expected in ((USED, True), ("blank_penalty=1", False), ("lm_weight=0", False)):
        asr, st = build_searches(options(checkpoint, decoder_options=given), model).values()
        for decoder, size in ((asr, model.config.asr_vocab_size), (st, model.config.st_vocab_size)):
            assert (decoder.language_model is not None) == expected  # type: ignore[attr-defined]
            assert not expected or decoder.language_model.vocab_size == size  # type: ignore[attr-defined]
    # States of a search with it are not those of a search without.
    used, unused = (
        build_translator(options(checkpoint, decoder_options=given)).settings
        for given in (USED, "blank_penalty=1")
    )
    assert used["language_models"] != unused["language_models"] == {}
    shutil.copyfile(checkpoint / "target.ngram", checkpoint / "source.ngram")
    with pytest.raises(CheckpointError, match="another vocabulary"):
        build_translator(options(checkpoint, decoder_options=USED))
    random = SystemOptions(random_weights="configs/tiny.yaml", decoder_options=USED)
    with pytest.raises(ConfigError, match="language model"):
        build_translator(random)


def test_weights_go_into_the_configuration(checkpoint: Path, corpus: Path) -> None:
    before = load_config_json(checkpoint)
    command = [str(checkpoint), "--data", str(corpus), "--weight", "0.7", "--bonus", "1.2"]
    assert main(command) == 0
    after = load_config_json(checkpoint)
    wanted = {**before.decoder.options, "lm_weight": 0.7, "unit_bonus": 1.2}
    assert after == replace(before, decoder=replace(before.decoder, options=wanted))
    used = build_translator(options(checkpoint)).settings["decoder"]
    assert used == dict.fromkeys(("asr", "st"), ("prefix-beam", wanted))


def test_the_translation_may_be_searched_otherwise(checkpoint: Path, corpus: Path) -> None:
    make_language_models(checkpoint, corpus)
    config = load_config_json(checkpoint)
    decoder = replace(
        config.decoder,
        options={"lm_weight": 0.0, "beam_size": 5},
        st_options={"lm_weight": 0.5, "beam_size": 7},
    )
    save_config_json(replace(config, decoder=decoder), checkpoint)
    model = build_model(options(checkpoint))
    asr, st = build_searches(options(checkpoint), model).values()
    assert (asr.beam_size, asr.language_model) == (5, None)  # type: ignore[attr-defined]
    assert st.beam_size == 7 and st.language_model is not None  # type: ignore[attr-defined]
    # What the user says holds for both, and another search has neither's options.
    given = options(checkpoint, decoder_options="beam_size=3")
    asr, st = build_searches(given, model).values()
    assert (asr.beam_size, st.beam_size) == (3, 3)  # type: ignore[attr-defined]
    build_searches(options(checkpoint, decoder="greedy"), model)
