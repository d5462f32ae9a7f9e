"""``echostream import-whisper FOLDER``: a Whisper checkpoint as an EchoStream folder."""

import argparse
from pathlib import Path

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream import-whisper``."""
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


@command("import-whisper", build_parser)
def main(args: argparse.Namespace) -> None:
    """Convert a checkpoint."""
    from echostream.model.importers.whisper import read_whisper, write_folder

    imported = read_whisper(args.folder)
    write_folder(imported, args.output)
    print(
        f"{args.output}: {sum(t.numel() for t in imported.tensors.values()):,} numbers, "
        f"{imported.config.encoder.options['num_layers']} layers of the encoder, "
        f"{len(imported.vocabulary.tokens)} tokens, {len(imported.vocabulary.languages)} languages"
    )
