"""Write an imported Whisper model as a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from echostream.constants import SUBSAMPLING
from echostream.decoder.text.transformer import SILENCE_STRIDE
from echostream.decoder.token_file import write_tokens
from echostream.encoder import registry
from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper.encoder import SILENCE
from echostream.model.checkpoint import TOKENS, save_config_json, save_tensors
from echostream.model.difference import SILENCE_ROWS
from echostream.model.importers import whisper_names
from echostream.model.importers.whisper import Imported


def write_folder(imported: Imported, folder: str | Path) -> None:
    """Weights as float16, configuration and vocabulary.

    Raises:
        CheckpointError: if a weight is too large for float16.
        DataError: if a file cannot be written.
    """
    folder = Path(folder)
    write_tokens(imported.vocabulary, folder / TOKENS)
    tensors = {**imported.tensors, SILENCE_ROWS: silence_rows(imported)}
    save_tensors(tensors, folder, dtype=torch.float16)
    save_config_json(imported.config, folder)


@torch.no_grad()
def silence_rows(imported: Imported) -> Tensor:
    """What the text decoder sees after the end of what was heard, ``[R, C]``: the encoder's output
    for 30 s of silence."""
    start = whisper_names.ENCODER
    config = imported.config.encoder
    encoder = registry.create(config)
    encoder.load_state_dict(
        {
            name.removeprefix(start): tensor.float()
            for name, tensor in imported.tensors.items()
            if name.startswith(start)
        },
        # What adaptation adds is zero and not in a checkpoint.
        strict=False,
    )
    frames = len(imported.tensors[whisper_names.POSITIONS])
    silence = torch.full((1, SUBSAMPLING * frames, encoder.input_dim), SILENCE)
    encoded = encoder.eval()(silence, chunk_size=WHOLE_RECORDING)["encoder_out"][0]
    return encoded[::SILENCE_STRIDE].contiguous()
