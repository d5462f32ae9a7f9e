"""``echostream export``: compile a checkpoint's encoder before it is needed.

The agent does the same when it starts and finds nothing; this is for images and machines where
the first start should be as quick as every other.
"""

import argparse
from pathlib import Path

from echostream.commands import command
from echostream.constants import BACKENDS, ENCODER_FRAME_MS, PRECISIONS
from echostream.errors import ConfigError


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="echostream export", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="folder or name of the checkpoint")
    add("--backend", choices=BACKENDS, default="auto")
    add("--precision", choices=PRECISIONS, default="float32")
    add("--chunk-ms", type=int, help="default: the checkpoint's")
    add("--left-context-ms", type=int, help="default: the checkpoint's")
    add(
        "--max-future-frames",
        default="config",
        help="'chunk' or a number; default: the checkpoint's",
    )
    add("--batch-size", type=int, nargs="+", default=[1], help="streams in one call (%(default)s)")
    add("--cache", type=Path, help="default: 'compiled' in the checkpoint's folder")
    return parser


@command("export", build_parser, failure=2)
def main(args: argparse.Namespace) -> None:
    """Compile for the given settings and say where the graphs lie."""
    from echostream.backend import default_cache, make_backend
    from echostream.locations import find_checkpoint
    from echostream.model import load_model

    folder = find_checkpoint(args.checkpoint)
    encoder = load_model(folder).encoder
    if not encoder.capabilities.compilable:
        raise ConfigError(
            f"the encoder of {args.checkpoint} is a {type(encoder).__name__}; expected a "
            "zipformer, the only one that is compiled"
        )
    cache = args.cache or default_cache(folder)
    compiled = make_backend(encoder, args.backend, precision=args.precision, cache=cache)
    if compiled is encoder:
        raise ConfigError(
            "backend torch needs no export; choose inductor, which needs a C++ compiler, or "
            "openvino (pip install 'echostream[backends]')"
        )
    for batch_size in args.batch_size:
        state = compiled.init_state(
            batch_size,
            chunk_size=_frames("--chunk-ms", args.chunk_ms),
            left_context=_frames("--left-context-ms", args.left_context_ms),
            max_future_frames=_future(args.max_future_frames),
        )
        compiled.prepare(state)
        print(
            f"{compiled.name} {compiled.precision}: {batch_size} stream(s), chunk "
            f"{state.chunk_size * compiled.frame_ms} ms, left context "
            f"{state.left_context * compiled.frame_ms} ms, in {cache}"
        )


def _frames(option: str, value: int | None) -> int | None:
    if value is not None and value % ENCODER_FRAME_MS:
        raise ConfigError(f"{option} is {value}; expected a multiple of {ENCODER_FRAME_MS} ms")
    return None if value is None else value // ENCODER_FRAME_MS


def _future(text: str) -> int | None | str:
    if text in ("chunk", "config"):
        return None if text == "chunk" else text
    if not text.isdigit():
        raise ConfigError(
            f"--max-future-frames is {text!r}; expected 'chunk' (all of it) or a number from 0 on"
        )
    return int(text)
