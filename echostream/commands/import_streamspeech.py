"""``echostream import-streamspeech CKPT OUT``: a published checkpoint as an EchoStream folder."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.commands import command
from echostream.errors import CheckpointError

if TYPE_CHECKING:
    from echostream.model.importers.streamspeech import Converted


_LANGUAGES = {"source": "fr", "target": "en"}
OPTIONS = (
    *(f"{side}_{what}" for side in _LANGUAGES for what in ("spm", "dict", "language")),
    *("gcmvn", "chunk_size"),
)
"""What the converter is told."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="echostream import-streamspeech",
        description="Take encoder and CTC heads of a checkpoint of the published StreamSpeech code "
        "into a folder that --checkpoint takes. The pickle is read without running code; the "
        "autoregressive text decoder, the unit decoder and the vocoder are left out.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="fairseq checkpoint, a .pt file")
    parser.add_argument("out", metavar="OUT", help="folder to write")
    for side, task in (("source", "source_unigram"), ("target", "ctc_target_unigram")):
        parser.add_argument(
            f"--{side}-spm",
            metavar="FILE",
            help=f"SentencePiece model of {task} (spm_unigram_*.model); it is copied into OUT "
            "(default: none, its ids are taken to be fairseq's, as in the released fr-en model)",
        )
        parser.add_argument(
            f"--{side}-dict",
            metavar="FILE",
            help=f"fairseq dictionary of {task} (default: the one that fairseq's script writes "
            "beside the SentencePiece model)",
        )
        parser.add_argument(
            f"--{side}-language",
            metavar="CODE",
            default=_LANGUAGES[side],
            help="(default: %(default)s)",
        )
    parser.add_argument("--gcmvn", metavar="FILE", help="gcmvn.npz, the feature statistics")
    parser.add_argument(
        "--chunk-size",
        type=int,
        metavar="N",
        help="encoder frames (40 ms) of a chunk (default: that of training if it can be streamed, "
        "else 8)",
    )
    return parser


@command("import-streamspeech", build_parser)
def main(args: argparse.Namespace) -> None:
    """Convert a checkpoint."""
    from echostream.model.importers.streamspeech import convert

    given = {name: value for name, value in vars(args).items() if name in OPTIONS}
    converted = convert(args.checkpoint, **given)
    _save(converted, args)
    print(
        f"{args.out}: {sum(t.numel() for t in converted.state_dict().values()):,} numbers, "
        f"chunks of {converted.config.encoder.options['chunk_size']} frames (40 ms), "
        f"{converted.config.asr_vocab_size} source and {converted.config.st_vocab_size} target "
        "pieces"
    )
    if converted.cmvn is None:
        print(
            "echostream import-streamspeech: warning: no --gcmvn was given, so features will not "
            "be normalised; the published models need theirs",
            file=sys.stderr,
        )


def _save(converted: Converted, arguments: argparse.Namespace) -> None:
    """Write the checkpoint folder."""
    from echostream.model import SpeechModel, save_model
    from echostream.model.checkpoint import SOURCE_VOCABULARY, TARGET_VOCABULARY

    model = SpeechModel(converted.config)
    model.load_state_dict(model.state_dict() | converted.state_dict())
    out = Path(arguments.out)
    try:
        save_model(model, out)
        for given, name in (
            (arguments.source_spm, SOURCE_VOCABULARY),
            (arguments.target_spm, TARGET_VOCABULARY),
        ):
            if given is not None:
                shutil.copyfile(given, out / name)
            elif not (out / name).exists():
                print(
                    f"echostream import-streamspeech: warning: {out} has no {name} yet; the agent "
                    "needs the SentencePiece model of that name there to write words",
                    file=sys.stderr,
                )
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {out}: {error}") from error
