"""``echostream import-whisper FOLDER``: a Whisper checkpoint as an EchoStream folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from echostream.commands import ended


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a checkpoint; returns 0, or 1 if it cannot be converted."""
    arguments = build_parser().parse_args(argv)
    return ended("import-whisper", lambda: _import(arguments.folder, arguments.output))


def _import(folder: str, output: Path) -> None:
    from echostream.model.importers.whisper import read_whisper
    from echostream.model.importers.whisper_folder import write_folder

    imported = read_whisper(folder)
    write_folder(imported, output)
    print(
        f"{output}: {sum(t.numel() for t in imported.tensors.values()):,} numbers, "
        f"{imported.config.encoder.options['num_layers']} layers of the encoder, "
        f"{len(imported.vocabulary.tokens)} tokens, {len(imported.vocabulary.languages)} languages"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echostream import-whisper",
        description="Make a folder that --checkpoint takes of a Whisper checkpoint: OpenAI's .pt, "
        "a Hugging Face folder (model.safetensors) or a CTranslate2 folder (model.bin, float16 or "
        "float32). Any size; nothing in it is run.",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="the checkpoint with its vocabulary beside it, or the .pt file",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
