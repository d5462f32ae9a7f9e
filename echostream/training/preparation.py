"""What a run needs besides weights: vocabularies, normalisation, and the system it trains.

    system.yaml         the configuration the run was started with
    source.model        SentencePiece model of the transcript
    target.model        SentencePiece model of the translation
    cmvn.json           mean and standard deviation of each mel bin over the training part

They are made once and kept in the run's folder, so a run that goes on finds what it started with.
"""

import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from tqdm import tqdm

from echostream.audio import Cmvn, FrontEnd
from echostream.config import SystemConfig, load_config, save_config, to_mapping
from echostream.decoder.tokenizer import Tokenizer
from echostream.errors import ConfigError, DataError
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY
from echostream.training.corpus.utterances import Utterance, read_corpus, select
from echostream.training.features import FeatureReader
from echostream.whole_file import read_back, write_whole

logger = logging.getLogger(__name__)

SYSTEM = "system.yaml"
CMVN = "cmvn.json"
_CMVN_SECONDS = 3600  # more speech than this does not change the statistics in a digit that matters
_NOT_WEIGHTS = ("chunk_size", "left_context", "max_future_frames", "dropout", "mode")
"""Keys of an encoder that may change during a run."""


@dataclass(frozen=True)
class Preparation:
    """A corpus and what was made from its training part.

    ``units`` counts the units of the training part's transcripts and translations.
    """

    config: SystemConfig
    utterances: tuple[Utterance, ...]
    source: Tokenizer
    target: Tokenizer
    cmvn: Cmvn
    units: tuple[int, int]


def make_front_end(config: SystemConfig) -> FrontEnd:
    """The front end of a configuration, without normalisation."""
    return FrontEnd(None, **vars(config.audio))


def prepare(
    config: SystemConfig, data: Path, run: Path, corpora: Sequence[str] = ()
) -> Preparation:
    """Read the corpus in ``data``, or only some corpora of it; make what the folder ``run`` lacks.

    Raises:
        ConfigError: if the run was started with another configuration, or for an unknown corpus.
        DataError: if the corpus cannot be used.
    """
    utterances = read_corpus(data, corpora)
    train = select(utterances, "train")
    run.mkdir(parents=True, exist_ok=True)
    path = run / SYSTEM
    if path.exists():
        before, now = _network(load_config(path)), _network(config)
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise ConfigError(
                f"{path} was written by a run with {changed[0]} = {before.get(changed[0])!r}; "
                f"this configuration has {now[changed[0]]!r}. Give another --output for a new "
                "run, or the configuration that this one was started with"
            )
    save_config(config, path)
    said, translated = [u.source_text for u in train], [u.target_text for u in train]
    source = vocabulary(run / SOURCE_VOCABULARY, said, config.asr_vocab_size)
    target = vocabulary(run / TARGET_VOCABULARY, translated, config.st_vocab_size)
    return Preparation(
        config=config,
        utterances=tuple(utterances),
        source=source,
        target=target,
        cmvn=_cmvn(run / CMVN, train, config),
        units=(
            sum(map(len, map(source.encode, said))),
            sum(map(len, map(target.encode, translated))),
        ),
    )


def vocabulary(path: Path, texts: Iterable[str], size: int) -> Tokenizer:
    """The SentencePiece unigram model at ``path``, trained on ``texts`` if it is not there yet.

    Raises `DataError` if the texts do not give a vocabulary of that size, or the file has another.
    """
    if not path.exists():
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                model_type="unigram",
                character_coverage=1.0,
                bos_id=-1,
                eos_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f"cannot train a SentencePiece vocabulary of {size} units: {error}; change "
                "asr_vocab_size or st_vocab_size in the configuration"
            ) from error
        write_whole(path, model.getvalue())
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.vocab_size != size:
        raise DataError(
            f"{path} has {tokenizer.vocab_size} units but the configuration asks for {size}; "
            "give another --output, or remove that file to train it again"
        )
    return tokenizer


def _cmvn(path: Path, train: Sequence[Utterance], config: SystemConfig) -> Cmvn:
    """The statistics at ``path``; where there are none yet, of every n-th of many recordings."""
    if path.exists():
        values = read_back(path, "mean", "std")
        return Cmvn(values["mean"], values["std"])
    step = max(1, round(sum(utterance.seconds for utterance in train) / _CMVN_SECONDS))
    chosen = tqdm(train[::step], desc="normalisation", unit="clip", leave=False)
    cmvn = Cmvn.estimate(map(FeatureReader(make_front_end(config)), chosen))
    _write_cmvn(path, cmvn)
    return cmvn


def _write_cmvn(path: Path, cmvn: Cmvn) -> None:
    values = {"mean": cmvn.mean.tolist(), "std": cmvn.std.tolist()}
    write_whole(path, json.dumps(values) + "\n")


def start_from(checkpoint: Path, config: SystemConfig, run: Path) -> None:
    """Give a new run the vocabularies and the normalisation of a checkpoint, whose weights it will
    start from; a run that has its own keeps them.

    Where the configuration asks for a vocabulary of another size, the checkpoint's is left out:
    :func:`prepare` makes one from the data, and its CTC head starts from random weights.

    Raises:
        ConfigError: if the checkpoint is of another network than the configuration.
        CheckpointError: if it cannot be read.
    """
    model = load_model(checkpoint)
    before, now = _network(model.config), _network(config)
    sizes = {"asr_vocab_size": SOURCE_VOCABULARY, "st_vocab_size": TARGET_VOCABULARY}
    changed = [key for key in now if before.get(key) != now[key] and key not in sizes]
    if changed:
        raise ConfigError(
            f"{checkpoint} has {changed[0]} = {before.get(changed[0])!r}; the configuration has "
            f"{now[changed[0]]!r}. Give the configuration of the checkpoint's own network"
        )
    run.mkdir(parents=True, exist_ok=True)
    for size, name in sizes.items():
        if before[size] != now[size]:
            logger.info("%s: %s units in place of %s", name, now[size], before[size])
        elif not (run / name).exists():
            write_whole(run / name, (checkpoint / name).read_bytes())
    if not (run / CMVN).exists():
        _write_cmvn(run / CMVN, model.cmvn)


def load_weights(checkpoint: Path, network: SpeechModel) -> None:
    """Give a network the weights of a checkpoint that :func:`start_from` has accepted.

    A CTC head of another vocabulary keeps its random ones.
    """
    own = network.state_dict()
    given = load_model(checkpoint).state_dict()
    network.load_state_dict(
        own | {name: value for name, value in given.items() if value.shape == own[name].shape}
    )


def _network(config: SystemConfig) -> dict[str, Any]:
    mapping = to_mapping(config)
    keys = {f"encoder.{k}": v for k, v in mapping["encoder"].items() if k not in _NOT_WEIGHTS}
    keys |= {f"audio.{k}": v for k, v in mapping["audio"].items()}
    return keys | {k: mapping[k] for k in ("asr_vocab_size", "st_vocab_size")}
