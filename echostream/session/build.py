"""From options to a translator."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from echostream import decoder, policy
from echostream.audio import FrontEnd
from echostream.backend import default_cache, in_int8, make_backend
from echostream.baseline import RecomputingFrontEnd
from echostream.config import SystemConfig, load_config
from echostream.config_mapping import parse_options
from echostream.decoder import Decoder, NgramModel, Tokenizer, blank_index, generator
from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.generator import Generator, GeneratorParts
from echostream.decoder.text import TransformerDecoder
from echostream.decoder.text.int8 import Int8Decoder
from echostream.encoder.protocol import Encoder
from echostream.errors import CheckpointError, ConfigError
from echostream.locations import find_checkpoint
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import NGRAMS, VOCABULARIES, tokens_path
from echostream.session.chunking import chunking
from echostream.session.costs import DEFAULT_CLOCK, Clock
from echostream.session.listener import Listener
from echostream.session.options import SystemOptions
from echostream.session.translator import Translator
from echostream.session.writer import Writer
from echostream.shipped import SHIPPED_CHECKPOINT
from echostream.whole_file import sha256_of

RANDOM_SEED = 1
"""Untrained weights are the same in every run."""

HEADS = {"s2tt": ("asr", "st"), "asr": ("asr",)}
"""Heads that a task needs, the one that is written from last."""

TEXT = "text"
"""The text decoder among the vocabularies."""


def build_translator(
    options: SystemOptions,
    device: torch.device | str = "cpu",
    *,
    clock: Clock = DEFAULT_CLOCK,
    like: Translator | None = None,
) -> Translator:
    """Load or make the model and put the chosen generator and policy around it.

    Args:
        options: what is wanted.
        device: of the model.
        clock: measures what the stages cost.
        like: a translator of options that differ only in languages, or in a task whose heads it
            has; its model is used again.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, or does not fit together.
        ConfigError: if an option is wrong.
    """
    model = build_model(options, device) if like is None else like.listener.model
    require_languages(model.config, options.source_language, options.target_language)
    listener = build_listener(options, model, clock) if like is None else like.listener
    # First, since it says what is wrong with the files whose sums are taken below.
    writer = build_writer(options, model, build_generator(options, model), clock)
    settings = {
        "model": model.fingerprint(),
        "task": options.task,
        "chunking": chunking(options, model.encoder),
        "policy": policy_settings(options, model),
        "generator": (
            *generator_settings(options, model),
            options.output_unit,
            options.pause_ms,
            # A decoder that knows many languages is told one.
            options.source_language if model.config.source_languages else None,
        ),
        "decoder": {head: decoder_settings(options, model, head) for head in model.heads},
        "channel": options.channel or model.config.audio.channel,
        "vocabularies": _sums(vocabulary_paths(options, model)),
        "language_models": _sums(language_model_paths(options, model)),
    }
    return Translator(listener, writer, settings)


def require_languages(
    config: SystemConfig, source: str | None = None, target: str | None = None
) -> None:
    """Refuse languages that a system does not have; codes such as ``en`` and ``en-GB`` agree.

    Raises:
        ConfigError: if it is another language.
    """
    for side, wanted, own in (
        ("source", source, config.source_languages or (config.source_language,)),
        ("target", target, (config.target_language,)),
    ):
        known = [code.lower() for code in own]
        if wanted is not None and primary_language(wanted) not in known:
            has = f"is {own[0]!r}" if len(own) == 1 else f"are {', '.join(own)}"
            raise ConfigError(
                f"the {side} language is {wanted!r}, but the checkpoint's {has}; expected "
                "that, or another checkpoint"
            )


def primary_language(code: str) -> str:
    """``en`` of ``en``, ``en-GB`` and ``EN_us``."""
    return re.split("[-_]", code.lower())[0]


def build_model(options: SystemOptions, device: torch.device | str = "cpu") -> SpeechModel:
    """The checkpoint's model, or an untrained one."""
    if options.random_weights is None:
        return load_model(_folder(options), device)
    torch.manual_seed(RANDOM_SEED)
    return SpeechModel(load_config(options.random_weights)).to(device).eval()


def build_listener(
    options: SystemOptions, model: SpeechModel, clock: Clock = DEFAULT_CLOCK
) -> Listener:
    """Front end and encoder with the chosen chunking."""
    audio = model.config.audio
    settings = chunking(options, model.encoder)
    front_end = FrontEnd(model.cmvn, **{**vars(audio), "channel": options.channel or audio.channel})
    mode = settings.get("mode", getattr(model.config.encoder, "mode", None))
    from_start = RecomputingFrontEnd(front_end) if mode == "recompute" else None
    return Listener(
        model,
        from_start or front_end,
        heads=wanted_heads(options, model),
        chunking=settings,
        threads=options.threads,
        clock=clock,
        encoder=_compiled(options, model, settings),
    )


def _compiled(
    options: SystemOptions, model: SpeechModel, settings: dict[str, Any]
) -> Encoder | None:
    """The encoder on the chosen backend, ready for its first chunk; ``None`` for the model's."""
    if options.backend == "torch" and options.precision == "float32":
        return None
    if not model.encoder.capabilities.compilable:
        if options.backend not in ("auto", "torch"):
            raise ConfigError(
                f"--backend {options.backend} was given, but the model's encoder is "
                f"{model.config.encoder.name}, which is not compiled; expected --backend torch, "
                "whose linear layers and attention run in the project's kernel"
            )
        if options.precision == "float32":
            return None
        int8: Encoder = in_int8(model.encoder)
        return int8
    cache = None if options.random_weights is not None else default_cache(_folder(options))
    encoder: Any = make_backend(
        model.encoder,
        options.backend,
        precision=options.precision,
        threads=options.threads,
        cache=cache,
    )
    if encoder is model.encoder:
        return None
    encoder.prepare(encoder.init_state(1, **settings))
    compiled: Encoder = encoder
    return compiled


def build_writer(
    options: SystemOptions,
    model: SpeechModel,
    generator: Generator[Any],
    clock: Clock = DEFAULT_CLOCK,
) -> Writer:
    """The chosen policy around a generator."""
    return Writer(
        build_policy(options, model),
        generator,
        frame_ms=model.encoder.frame_ms,
        frame_dim=model.encoder.output_dim,
        separator="" if options.output_unit == "char" else " ",
        clock=clock,
    )


def build_policy(options: SystemOptions, model: SpeechModel) -> policy.Policy:
    """The READ/WRITE policy."""
    name, settings = policy_settings(options, model)
    return policy.create(name, **settings)


def build_generator(options: SystemOptions, model: SpeechModel) -> Generator[Any]:
    """The chosen generator."""
    paths = vocabulary_paths(options, model)
    heads = wanted_heads(options, model)
    searches = build_searches(options, model)
    parts = GeneratorParts(
        searches={head: searches[head] for head in heads},
        tokenizers={head: _vocabulary(paths.get(head), model, head) for head in heads},
        frame_ms=model.encoder.frame_ms,
        output_unit=options.output_unit,
        pause_ms=options.pause_ms,
        text_decoder=_text_decoder_of(options, model),
        text_tokenizer=_tokens(paths.get(TEXT), model),
        source_language=_spoken(options, model),
        task=options.task,
        model=model,
    )
    name, settings = generator_settings(options, model)
    return generator.create(name, parts=parts, **settings)


def generator_settings(options: SystemOptions, model: SpeechModel) -> tuple[str, dict[str, Any]]:
    """The generator's name and options."""
    default = "ctc" if text_decoder(model) is None else "transformer"
    given = parse_options(options.generator_options, "--generator-options")
    return options.generator or default, given


def wanted_heads(options: SystemOptions, model: SpeechModel) -> tuple[str, ...]:
    """The heads of the task that the model has."""
    return tuple(head for head in HEADS[options.task] if head in model.heads)


def text_decoder(model: SpeechModel) -> TransformerDecoder | None:
    """The model's text decoder, if it has one."""
    return getattr(model, "text_decoder", None)


def _text_decoder_of(options: SystemOptions, model: SpeechModel) -> TransformerDecoder | None:
    """The text decoder in the precision that was asked for."""
    decoder = text_decoder(model)
    return Int8Decoder(decoder) if decoder is not None and options.precision == "int8" else decoder


def _spoken(options: SystemOptions, model: SpeechModel) -> str | None:
    """The language that is spoken, where it is known."""
    if options.source_language is not None:
        return primary_language(options.source_language)
    return None if model.config.source_languages else model.config.source_language


def build_searches(options: SystemOptions, model: SpeechModel) -> dict[str, Decoder[Any]]:
    """The CTC search of each head, with its vocabulary's suppressed pieces and language model."""
    vocabularies = vocabulary_paths(options, model)
    language_models = language_model_paths(options, model)
    searches = {}
    for head, size in model.vocab_sizes.items():
        name, settings = decoder_settings(options, model, head)
        tokenizer = _vocabulary(vocabularies.get(head), model, head)
        language_model = language_models.get(head)
        if language_model is not None:
            settings = {**settings, "language_model": _language_model(language_model, size)}
        searches[head] = decoder.create(
            name,
            blank=blank_index(size),
            suppress=() if tokenizer is None else tokenizer.suppressed,
            **settings,
        )
    return searches


def policy_settings(options: SystemOptions, model: SpeechModel) -> tuple[str, dict[str, Any]]:
    """The policy's name and options, the checkpoint's where none are given."""
    configured = model.config.policy
    name = options.policy or configured.name
    given = parse_options(options.policy_options, "--policy-options")
    # The checkpoint's options belong to its own policy only.
    if name != configured.name:
        return name, given
    own = configured.st_options if options.task == "s2tt" else {}
    return name, {**configured.options, **own, **given}


def decoder_settings(
    options: SystemOptions, model: SpeechModel, head: str
) -> tuple[str, dict[str, Any]]:
    """Name and options of a head's CTC search, likewise; given options hold for all heads."""
    configured = model.config.decoder
    name = options.decoder or configured.name
    given = parse_options(options.decoder_options, "--decoder-options")
    if name != configured.name:
        return name, given
    own = configured.st_options if head == "st" else {}
    return name, {**configured.options, **own, **given}


def vocabulary_paths(options: SystemOptions, model: SpeechModel) -> dict[str, Path]:
    """The checkpoint's vocabularies by head, and that of a text decoder; none for random
    weights."""
    if options.random_weights is not None:
        return {}
    folder = _folder(options)
    paths = {head: folder / name for head, name in VOCABULARIES.items() if head in model.heads}
    if text_decoder(model) is not None:
        paths[TEXT] = tokens_path(folder)
    return paths


def language_model_paths(options: SystemOptions, model: SpeechModel) -> dict[str, Path]:
    """The checkpoint's n-gram models by head, where one is asked for."""
    if options.random_weights is not None:
        return {}
    return {
        head: _folder(options) / name
        for head, name in NGRAMS.items()
        if decoder_settings(options, model, head)[1].get("lm_weight")
    }


def _folder(options: SystemOptions) -> Path:
    return find_checkpoint(options.checkpoint or SHIPPED_CHECKPOINT)


def _vocabulary(path: Path | None, model: SpeechModel, head: str) -> Tokenizer | None:
    if path is None:
        return None
    tokenizer = Tokenizer.from_file(path)
    expected = model.vocab_sizes[head]
    if tokenizer.vocab_size != expected:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} pieces; expected {expected} as in config.json: "
            "the vocabulary is not the one the model was trained with"
        )
    return tokenizer


def _tokens(path: Path | None, model: SpeechModel) -> ByteLevelTokenizer | None:
    decoder = text_decoder(model)
    if path is None or decoder is None:
        return None
    tokenizer = ByteLevelTokenizer.from_file(path)
    if tokenizer.vocab_size != decoder.config.vocab_size:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} tokens; expected {decoder.config.vocab_size} as in "
            "config.json: the vocabulary is not the one the model was trained with"
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


def _sums(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: sha256_of(path) for name, path in sorted(paths.items())}
