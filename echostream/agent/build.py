"""From options to a translator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from echostream import decoder, policy
from echostream.agent.options import SHIPPED_CHECKPOINT, AgentOptions, parse_options
from echostream.agent.translator import Translator
from echostream.config import load_config
from echostream.decoder import Decoder, Tokenizer, WordAssembler, blank_index
from echostream.errors import CheckpointError, ConfigError
from echostream.model import SpeechModel, load_model
from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY

RANDOM_SEED = 1
"""Untrained weights are the same in every run."""


def build_translator(options: AgentOptions, device: torch.device | str = "cpu") -> Translator:
    """Load or make the model and put the chosen policy and decoders around it.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, or does not fit together.
        ConfigError: if an option is wrong.
    """
    if options.random_weights is not None:
        torch.manual_seed(RANDOM_SEED)
        model = SpeechModel(load_config(options.random_weights)).to(device).eval()
        decoders = (
            _decoder(options, model, model.config.asr_vocab_size),
            _decoder(options, model, model.config.st_vocab_size),
        )
        assembler = None
    else:
        folder = Path(options.checkpoint or SHIPPED_CHECKPOINT)
        model = load_model(folder, device)
        source = _vocabulary(folder / SOURCE_VOCABULARY, model.config.asr_vocab_size)
        target = _vocabulary(folder / TARGET_VOCABULARY, model.config.st_vocab_size)
        decoders = (
            _decoder(options, model, source.vocab_size, source.suppressed),
            _decoder(options, model, target.vocab_size, target.suppressed),
        )
        assembler = WordAssembler(source if options.task == "asr" else target)
    return Translator(
        model,
        _policy(options, model),
        decoders,
        assembler,
        task=options.task,
        chunking=options.chunking(),
    )


def _policy(options: AgentOptions, model: SpeechModel) -> policy.Policy:
    configured = model.config.policy
    name = options.policy or configured.name
    given = parse_options(options.policy_options, "--policy-options")
    # The checkpoint's options belong to its own policy only.
    defaults = configured.options if name == configured.name else {}
    return policy.create(name, **{**defaults, **given})


def _decoder(
    options: AgentOptions, model: SpeechModel, vocab_size: int, suppress: tuple[int, ...] = ()
) -> Decoder[Any]:
    configured = model.config.decoder
    name = options.decoder or configured.name
    given = parse_options(options.decoder_options, "--decoder-options")
    defaults = configured.options if name == configured.name else {}
    return decoder.create(
        name, blank=blank_index(vocab_size), suppress=suppress, **{**defaults, **given}
    )


def _vocabulary(path: Path, expected: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.vocab_size != expected:
        raise CheckpointError(
            f"{path} has {tokenizer.vocab_size} pieces; expected {expected} as in config.json: "
            "the vocabulary is not the one the model was trained with"
        )
    return tokenizer


def read_forced_target(path: str) -> list[str]:
    """The lines of a forced writer's references.

    Raises:
        ConfigError: if the file cannot be read or has no lines.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read --forced-target {path}: {error}; expected a UTF-8 text file"
        ) from error
    if not lines:
        raise ConfigError(f"--forced-target {path} is empty; expected one line for each recording")
    return lines
