"""The vocabulary of a Whisper checkpoint, from the files that lie beside the weights.

``tokenizer.json``    Hugging Face, CTranslate2: tokens by id, special ones among ``added_tokens``
``vocabulary.json``   CTranslate2: a list of tokens by id
``vocab.json``, ``added_tokens.json``   Hugging Face, older
``multilingual.tiktoken``, ``gpt2.tiktoken``   OpenAI: ``base64 rank`` lines; specials go by rule
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echostream.decoder.bpe import ByteLevelTokenizer
from echostream.decoder.token_file import TokenTable, table_of, to_printable
from echostream.errors import CheckpointError

_CODES = """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur
    hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si
    km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha
    ba jw su yue
"""
LANGUAGES = tuple(_CODES.split())
"""Whisper's languages in the order of their ids; the last came with large-v3."""

FILES = ("tokenizer.json", "vocabulary.json", "vocab.json", "multilingual.tiktoken")
NUM_TIMES = 1501
"""Time stamps, every 20 ms from 0 to 30 s."""
_STEERING = "translate transcribe startoflm startofprev nospeech notimestamps"
_OLD_NAMES = {"<|nocaptions|>": "<|nospeech|>", "<|startofprevious|>": "<|startofprev|>"}

# What is written in transcripts and not spoken; the second group also inside of longer tokens.
_SIGNS = """ << >> <<< >>> -- --- -( -[ (' (" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪ """
_SYMBOLS = (*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', *_SIGNS.split())
_NOTES = "♩♪♫♬♭♮♯"


def read_vocabulary(folder: Path, size: int, suppressed: Mapping[str, Any]) -> TokenTable:
    """The ``size`` tokens of the checkpoint in ``folder``.

    Args:
        folder: where the files are.
        size: rows of the embedding.
        suppressed: ``suppress_tokens`` and ``begin_suppress_tokens`` where the checkpoint's own
            configuration has them; else what Whisper's own decoding suppresses.

    Raises:
        CheckpointError: no file is there, or it is not a vocabulary of this size.
    """
    tokens, path = _tokens(folder, size)
    if len(tokens) != size:
        raise CheckpointError(
            f"{path} has {len(tokens)} tokens; expected {size}, the rows of the embedding: give "
            "the vocabulary that belongs to the checkpoint"
        )
    tokens = [_OLD_NAMES.get(token, token) for token in tokens]
    if tokens[-NUM_TIMES - 1 :] == ["<|notimestamps|>", *[""] * NUM_TIMES]:
        tokens[-NUM_TIMES:] = _times()  # older files leave them to the program
    special = [i for i, token in enumerate(tokens) if _is_special(token)]
    languages = [code for code in LANGUAGES if f"<|{code}|>" in tokens]
    table = table_of(tokens, special, languages=languages)
    plain = ByteLevelTokenizer(table)
    listed = suppressed.get("suppress_tokens") or _not_spoken(plain)
    at_start = suppressed.get("begin_suppress_tokens") or [*plain.encode(" "), plain.end]
    return table_of(
        tokens,
        special,
        languages=languages,
        suppressed=sorted(int(i) for i in listed),
        suppressed_at_start=[int(i) for i in at_start],
    )


def _tokens(folder: Path, size: int) -> tuple[list[str], Path]:
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{folder} has no vocabulary; expected one of {', '.join(FILES)} beside the weights"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".tiktoken":
            return _of_ranks(text, size), path
        values = json.loads(text)
        if path.name == "tokenizer.json":
            added = {item["content"]: item["id"] for item in values["added_tokens"]}
            return _by_id({**values["model"]["vocab"], **added}, size), path
        if path.name == "vocab.json":
            beside = folder / "added_tokens.json"
            added = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
            return _by_id({**values, **added}, size), path
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ValueError("it is not a list of tokens")
        return values, path
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a vocabulary of Whisper: {error!r}; copy it again"
        ) from error


def _by_id(ids: Mapping[str, int], size: int) -> list[str]:
    """Tokens by id; ids that no file names, such as unused rows, are empty."""
    tokens = [""] * size
    for token, index in ids.items():
        if not 0 <= index < size:
            raise ValueError(f"{token!r} has the id {index}; the model has {size} tokens")
        tokens[index] = token
    return tokens


def _of_ranks(text: str, size: int) -> list[str]:
    """OpenAI's file, and the special tokens that its code puts behind it."""
    lines = [line.split() for line in text.splitlines() if line]
    ranks = {to_printable(base64.b64decode(token)): int(rank) for token, rank in lines}
    times = _times()
    steering = _STEERING.split()
    count = size - len(ranks) - len(times) - len(steering) - 2
    if not 0 < count <= len(LANGUAGES):
        raise ValueError(f"{size} rows leave place for {count} languages")
    names = ["endoftext", "startoftranscript", *LANGUAGES[:count], *steering]
    return _by_id(ranks, len(ranks)) + [f"<|{name}|>" for name in names] + times


def _times() -> list[str]:
    return [f"<|{0.02 * n:.2f}|>" for n in range(NUM_TIMES)]


def _is_special(token: str) -> bool:
    return token.startswith("<|") and token.endswith("|>") and len(token) > len("<||>")


def _not_spoken(tokenizer: ByteLevelTokenizer) -> set[int]:
    """Tokens of symbols that nobody says, and of a dash or quote that begins a speaker's turn."""
    found = {tokenizer.encode(start)[0] for start in (" -", " '")}
    for symbol in (*_SYMBOLS, *_NOTES):
        for text in (symbol, f" {symbol}"):
            ids = tokenizer.encode(text)
            if len(ids) == 1 or symbol in _NOTES:
                found.add(ids[0])
    return found
