"""Write an imported Whisper model as a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import torch

from echostream.decoder.token_file import write_tokens
from echostream.model.checkpoint import TOKENS, save_config_json, save_tensors
from echostream.model.importers.whisper import Imported


def write_folder(imported: Imported, folder: str | Path) -> None:
    """Weights as float16, configuration and vocabulary.

    Raises:
        CheckpointError: if a weight is too large for float16.
        DataError: if a file cannot be written.
    """
    folder = Path(folder)
    write_tokens(imported.vocabulary, folder / TOKENS)
    save_tensors(imported.tensors, folder, dtype=torch.float16)
    save_config_json(imported.config, folder)
