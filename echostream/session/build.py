"""From options to a translator."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from echostream import decoder, policy
from echostream.audio import FrontEnd
from echostream.backend import CompiledEncoder, default_cache, make_backend
from echostream.baseline import RecomputingFrontEnd
from echostream.config import load_config
from echostream.decoder import Decoder, NgramModel, Tokenizer, WordAssembler, blank_index
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import CheckpointError, ConfigError
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import (
    SOURCE_NGRAM,
    SOURCE_VOCABULARY,
    TARGET_NGRAM,
    TARGET_VOCABULARY,
)
from echostream.session.chunking import chunking
from echostream.session.costs import DEFAULT_CLOCK, Clock
from echostream.session.listener import Listener
from echostream.session.options import AgentOptions, parse_options
from echostream.session.translator import Translator
from echostream.session.writer import Writer
from echostream.shipped import SHIPPED_CHECKPOINT

RANDOM_SEED = 1
"""Untrained weights are the same in every run."""


def build_translator(
    options: AgentOptions, device: torch.device | str = "cpu", *, clock: Clock = DEFAULT_CLOCK
) -> Translator:
    """Load or make the model and put the chosen policy and decoders around it.

    ``clock`` measures what the stages cost.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, or does not fit together.
        ConfigError: if an option is wrong.
    """
    model = build_model(options, device)
    listener = build_listener(options, model, clock)
    # First, since it says what is wrong with the files whose sums are taken below.
    writer = build_writer(options, model, clock)
    settings = {
        "model": model.fingerprint(),
        "task": options.task,
        "chunking": chunking(options, model.encoder),
        "policy": policy_settings(options, model),
        "decoder": (*decoder_settings(options, model), st_decoder_options(options, model)),
        "vocabularies": _digests(vocabulary_paths(options)),
        "language_models": _digests(language_model_paths(options, model)),
    }
    return Translator(listener, writer, settings)


def build_model(options: AgentOptions, device: torch.device | str = "cpu") -> SpeechModel:
    """The checkpoint's model, or an untrained one."""
    if options.random_weights is None:
        return load_model(_folder(options), device)
    torch.manual_seed(RANDOM_SEED)
    return SpeechModel(load_config(options.random_weights)).to(device).eval()


def build_listener(
    options: AgentOptions, model: SpeechModel, clock: Clock = DEFAULT_CLOCK
) -> Listener:
    """Front end and encoder with the chosen chunking."""
    audio = model.config.audio
    settings = chunking(options, model.encoder)
    front_end = FrontEnd(
        model.cmvn,
        lead_in_samples=audio.lead_in_samples,
        nan_policy=audio.nan_policy,  # type: ignore[arg-type]
    )
    mode = settings.get("mode", getattr(model.config.encoder, "mode", None))
    from_start = RecomputingFrontEnd(front_end) if mode == "recompute" else None
    return Listener(
        model,
        from_start or front_end,
        task=options.task,
        chunking=settings,
        clock=clock,
        encoder=_compiled(options, model, settings),
    )


def _compiled(
    options: AgentOptions, model: SpeechModel, settings: dict[str, Any]
) -> CompiledEncoder | None:
    """The encoder on the chosen backend, ready for its first chunk; ``None`` for the model's."""
    if options.backend == "torch" and options.precision == "float32":
        return None
    if not isinstance(model.encoder, ZipformerEncoder):
        if options.backend == "auto":
            return None
        raise ConfigError(
            f"--backend {options.backend} --precision {options.precision} was given, but the "
            f"model's encoder is {model.config.encoder.name}; expected --backend torch for it"
        )
    cache = None if options.random_weights is not None else default_cache(_folder(options))
    encoder = make_backend(
        model.encoder,
        options.backend,
        precision=options.precision,
        threads=options.threads,
        cache=cache,
    )
    if not isinstance(encoder, CompiledEncoder):
        return None
    encoder.prepare(encoder.init_state(1, **settings))
    return encoder


def build_writer(options: AgentOptions, model: SpeechModel, clock: Clock = DEFAULT_CLOCK) -> Writer:
    """The chosen policy and decoders, with the vocabularies of the checkpoint."""
    return Writer(
        build_policy(options, model),
        build_decoders(options, model),
        build_assembler(options, model),
        task=options.task,
        frame_ms=model.encoder.frame_ms,
        frame_dim=model.config.encoder.output_dim,
        clock=clock,
    )


def policy_settings(options: AgentOptions, model: SpeechModel) -> tuple[str, dict[str, Any]]:
    """The policy's name and options, the checkpoint's where none are given."""
    configured = model.config.policy
    name = options.policy or configured.name
    given = parse_options(options.policy_options, "--policy-options")
    # The checkpoint's options belong to its own policy only.
    defaults = configured.options if name == configured.name else {}
    return name, {**defaults, **given}


def decoder_settings(options: AgentOptions, model: SpeechModel) -> tuple[str, dict[str, Any]]:
    """The CTC search's name and options, likewise."""
    configured = model.config.decoder
    name = options.decoder or configured.name
    given = parse_options(options.decoder_options, "--decoder-options")
    defaults = configured.options if name == configured.name else {}
    return name, {**defaults, **given}


def st_decoder_options(options: AgentOptions, model: SpeechModel) -> dict[str, Any]:
    """All options of the translation's search: those that are given here hold for both heads."""
    name, settings = decoder_settings(options, model)
    configured = model.config.decoder
    own = configured.st_options if name == configured.name else {}
    return {**settings, **own, **parse_options(options.decoder_options, "--decoder-options")}


def build_policy(options: AgentOptions, model: SpeechModel) -> policy.Policy:
    """The READ/WRITE policy."""
    name, settings = policy_settings(options, model)
    return policy.create(name, **settings)


def build_decoders(options: AgentOptions, model: SpeechModel) -> tuple[Decoder[Any], Decoder[Any]]:
    """The CTC searches of the ASR head and of the ST head."""
    name, asr_settings = decoder_settings(options, model)
    sizes = (model.config.asr_vocab_size, model.config.st_vocab_size)
    paths = vocabulary_paths(options)
    suppressed = [
        () if path is None else _vocabulary(path, size).suppressed
        for path, size in zip(paths, sizes, strict=True)
    ]
    asr, st = (
        decoder.create(
            name,
            blank=blank_index(size),
            suppress=suppress,
            **settings,
            **({} if path is None else {"language_model": _language_model(path, size)}),
        )
        for settings, size, suppress, path in zip(
            (asr_settings, st_decoder_options(options, model)),
            sizes,
            suppressed,
            language_model_paths(options, model),
            strict=True,
        )
    )
    return asr, st


def build_assembler(options: AgentOptions, model: SpeechModel) -> WordAssembler | None:
    """Makes words of the output head's tokens; ``None`` for random weights, which have none."""
    source, target = vocabulary_paths(options)
    config = model.config
    path, size = (
        (source, config.asr_vocab_size) if options.task == "asr" else (target, config.st_vocab_size)
    )
    return None if path is None else WordAssembler(_vocabulary(path, size))


def vocabulary_paths(options: AgentOptions) -> tuple[Path | None, Path | None]:
    """The checkpoint's SentencePiece models, of source and target; ``None`` for random weights."""
    if options.random_weights is not None:
        return None, None
    return _folder(options) / SOURCE_VOCABULARY, _folder(options) / TARGET_VOCABULARY


def language_model_paths(
    options: AgentOptions, model: SpeechModel
) -> tuple[Path | None, Path | None]:
    """The checkpoint's n-gram models, of source and target; ``None`` where none is asked for."""
    if options.random_weights is not None:
        return None, None
    asr, st = decoder_settings(options, model)[1], st_decoder_options(options, model)
    return (
        _folder(options) / SOURCE_NGRAM if asr.get("lm_weight") else None,
        _folder(options) / TARGET_NGRAM if st.get("lm_weight") else None,
    )


def _folder(options: AgentOptions) -> Path:
    return Path(options.checkpoint or SHIPPED_CHECKPOINT)


def _vocabulary(path: Path, expected: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.vocab_size != expected:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} pieces; expected {expected} as in config.json: "
            "the vocabulary is not the one the model was trained with"
        )
    return tokenizer


def _language_model(path: Path, expected: int) -> NgramModel:
    language_model = NgramModel.from_file(path)
    if language_model.vocab_size != expected:
        raise CheckpointError(
            f"{path} is over {language_model.vocab_size} units; expected {expected} as in "
            "config.json: it was made for another vocabulary, make it again with `echostream "
            "language-model`"
        )
    return language_model


def _digests(paths: tuple[Path | None, Path | None]) -> list[str | None]:
    return [
        None if path is None else hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]


def read_forced_target(path: str) -> list[str]:
    """The lines of a forced writer's references.

    Raises:
        ConfigError: if the file cannot be read or has no lines.
    """
    try:
        # Cut where SimulEval cuts its lists; splitlines() knows further line ends.
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read --forced-target {path}: {error}; expected a UTF-8 text file"
        ) from error
    if lines == [""]:
        raise ConfigError(f"--forced-target {path} is empty; expected one line for each recording")
    return lines
