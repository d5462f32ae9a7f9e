"""``echostream live``: words in the terminal while somebody speaks."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from echostream.commands import command, positive
from echostream.commands.system import add_system_arguments, translator_of

if TYPE_CHECKING:
    from echostream.session import Translator

_SENTENCE_ENDS = tuple(".!?。！？")
_DIM, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[0m", "\x1b[K"


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="echostream live",
        description="Write words as they are translated (--task asr: transcribed). Ctrl-C ends the "
        "recording, and what is left of it is written.",
        epilog="From a pipe: ffmpeg -loglevel error -i URL -f s16le -ac 1 -ar 16000 - | echostream "
        "live -",
    )
    add = parser.add_argument
    add("source", nargs="?", choices=("-",), metavar="-", help="raw audio, 16-bit little-endian, "
        "from standard input (default: the microphone, which needs the extra `live`)")  # fmt: skip
    add("--rate", type=positive, default=16_000, metavar="HZ", help="of raw audio (%(default)s)")
    add("--channels", type=int, choices=(1, 2), default=1, help="of raw audio (%(default)s)")
    add("--input-device", metavar="NAME", help="number or part of the name of a microphone")
    add("--list-devices", action="store_true", help="show the microphones there are")
    add("--tentative", action="store_true", help="show what may still change, in grey, where the "
        "output is a terminal")  # fmt: skip
    add_system_arguments(parser)
    return parser


@command("live", build_parser)
def main(args: argparse.Namespace) -> None:
    """Listen until the source or the user ends it."""
    from echostream.hosts.capture import Microphone, from_pipe, microphones

    if args.list_devices:
        print(microphones())
        return
    terminal = Terminal(sys.stdout)
    translator = translator_of(args)
    if args.source == "-":
        source = from_pipe(sys.stdin.fileno(), args.rate, args.channels)
        listen(translator, source, args.rate, terminal, tentative=args.tentative)
        return
    microphone = Microphone(args.input_device)
    print(f"listening to {microphone.name}; Ctrl-C ends it", file=sys.stderr)
    try:
        listen(translator, microphone, microphone.rate, terminal, tentative=args.tentative)
    finally:
        microphone.close()


def listen(
    translator: Translator,
    source: Iterable[Any],
    rate: int,
    terminal: Terminal,
    *,
    tentative: bool = False,
) -> None:
    """Write what is said until the source ends, or Ctrl-C comes; what is left is written then.

    Raises:
        AudioFormatError: for audio that cannot be used.
    """
    from echostream.session import Session

    session = Session(translator)
    writer = translator.writer
    try:
        for samples in source:
            step = session.push(samples, rate)
            tail = writer.at_hand(session.state.writer) if tentative else ()
            terminal.show(step.words, tail, writer.separator)
    except KeyboardInterrupt:
        pass
    terminal.show(session.finish().words, (), writer.separator)
    terminal.end()


class Terminal:
    """Words one after the other, a line for each sentence, and behind them what may still change.

    Args:
        out: where to; the tail is shown only if it is a terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._column = 0
        self._tail = ""

    def show(self, words: Sequence[str], tail: Sequence[str], separator: str) -> None:
        """Words that stand, and those that may change, which replace the last ones."""
        shown = separator.join(tail)
        if not self._is_terminal:
            shown = ""
        if not words and shown == self._tail:
            return
        text = _CLEAR if self._tail else ""
        for word in words:
            before = separator if self._column else ""
            text += before + word
            self._column += len(before) + len(word)
            if word.endswith(_SENTENCE_ENDS):
                text += "\n"
                self._column = 0
        self._tail = shown
        if shown:
            # A tail that began another line could not be taken back.
            width = shutil.get_terminal_size().columns
            seen = (" " + shown)[: width - 1 - self._column % width]
            text += f"{_DIM}{seen}{_PLAIN}" + (f"\x1b[{len(seen)}D" if seen else "")
        self._out.write(text)
        self._out.flush()

    def end(self) -> None:
        """The line is complete."""
        self._out.write("\n" if self._column else "")
        self._out.flush()
