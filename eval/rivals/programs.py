"""The programs that are measured, how each is run on recordings, and what it says about them."""

import json
import os
import re
import resource
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echostream.config_mapping import check_types, from_mapping, read_yaml, require
from echostream.decoder.token_file import from_printable
from echostream.errors import ConfigError, DataError
from echostream.whole_file import write_whole
from eval.command import ROOT

INFERENCE = "python -m simulstream.inference"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
BYTE_SPACE = "\u0120"
"""How a byte-level vocabulary, such as Whisper's, writes a space."""


@dataclass(frozen=True)
class Program:
    """One line of the table: a speech processor of simulstream's, or a command."""

    name: str
    segment_s: float
    """Of audio that the program is given at a time."""
    processor: dict[str, Any] | None = None
    """Of simulstream, as in its YAML; it hears all recordings in one process."""
    command: str | None = None
    """For one recording, with ``{audio}``: prints a line of JSON with ``text`` for each output."""

    def __post_init__(self) -> None:
        check_types(self)
        require(self.segment_s > 0, f"{self.name}: segment_s is {self.segment_s}; expected seconds")
        require(
            (self.processor is None) != (self.command is None),
            f"{self.name} has processor {self.processor!r} and command {self.command!r}; expected "
            "one of them",
        )
        if self.command is not None:
            require(
                "{audio}" in self.command,
                f"{self.name}: the command {self.command!r} has no {{audio}}; expected it where "
                "the path of a recording goes",
            )


@dataclass(frozen=True)
class Programs:
    """All of a file, in the order in which they take turns."""

    programs: tuple[Program, ...]
    python: str = "python"
    """That has simulstream and what the commands need; commands call it ``python``."""

    def __post_init__(self) -> None:
        check_types(self)
        names = [program.name for program in self.programs]
        require(
            bool(names) and len(set(names)) == len(names),
            f"programs are named {', '.join(names) or 'nothing'}; expected names that differ",
        )


def read_programs(path: Path) -> Programs:
    """Read them from YAML, in which ``${NAME}`` is a variable of the environment.

    Raises:
        ConfigError: if the file cannot be read, a variable is not set, or a key is wrong.
    """

    def expanded(text: str) -> str:
        text = os.path.expandvars(text)
        if unset := re.findall(r"\$\{\w+\}", text):
            raise ConfigError(
                f"{path} names {', '.join(sorted(set(unset)))}, not set in the environment; the "
                "beginning of the file says what each is"
            )
        return text

    return from_mapping(Programs, read_yaml(path, "programs", expanded), str(path))


def run(
    program: Program, python: str, recordings: Sequence[Path], folder: Path
) -> tuple[float, list[str]]:
    """CPU seconds of the program's processes, and what it says about each recording.

    Raises:
        DataError: if a process fails or what it says cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spent = _children_s()
    if program.processor is None:
        command = str(program.command)
        texts = [
            text_of_lines(_call(_arguments(command, python, str(each)), folder).splitlines())
            for each in recordings
        ]
        return _children_s() - spent, texts
    config, sources, log = (folder / name for name in ("processor.yaml", "list.txt", "log.jsonl"))
    settings = {"speech_chunk_size": program.segment_s, **program.processor}
    write_whole(config, yaml.safe_dump(settings))
    write_whole(sources, "".join(f"{each.resolve()}\n" for each in recordings))
    log.unlink(missing_ok=True)
    options = {"speech-processor-config": config, "wav-list-file": sources, "metrics-log-file": log}
    arguments = _arguments(INFERENCE, python)
    _call([*arguments, *(f"--{name}={path.resolve()}" for name, path in options.items())], folder)
    spent = _children_s() - spent
    texts = texts_of_log(log.read_text(encoding="utf-8").splitlines())
    if len(texts) != len(recordings):
        raise DataError(
            f"{log} is about {len(texts)} recordings; expected {len(recordings)}, as in {sources}"
        )
    return spent, texts


def _arguments(command: str, python: str, audio: str = "") -> list[str]:
    words = [word.replace("{audio}", audio) for word in shlex.split(command)]
    return [python if word == "python" else word for word in words]


def _call(arguments: Sequence[str], folder: Path) -> str:
    """Run it on one thread; its standard output. Its standard error is kept in the folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)}
    errors = folder / "stderr.txt"
    try:
        with errors.open("w", encoding="utf-8") as file:
            done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, stderr=file)
    except OSError as error:
        raise ConfigError(f"cannot run {arguments[0]}: {error.strerror}") from error
    if done.returncode:
        lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise DataError(
            f"`{shlex.join(arguments)}` ended with status {done.returncode}: "
            f"{lines[-1] if lines else 'it says nothing'}; all it says is in {errors}"
        )
    return done.stdout.decode(errors="replace")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def text_of_lines(lines: Iterable[str]) -> str:
    """What SimulStreaming prints of a recording: lines of JSON, those with words have ``text``."""
    return "".join(str(_object(line).get("text", "")) for line in lines).strip()


def texts_of_log(lines: Iterable[str]) -> list[str]:
    """The last text of each recording of simulstream's log: tokens that were deleted are not in it.

    Tokens are those of a byte-level vocabulary or whole words.
    """
    found: list[list[str]] = []
    for values in map(_object, lines):
        if "metadata" in values:
            found.append([])
        elif "generated_tokens" in values:
            deleted = len(values["deleted_tokens"])
            if not found or deleted > len(found[-1]):
                raise DataError(
                    "simulstream's log has output of no recording, or deletes what was not there"
                )
            found[-1][len(found[-1]) - deleted :] = values["generated_tokens"]
    if any(BYTE_SPACE in token for tokens in found for token in tokens):
        written = (from_printable("".join(tokens)) for tokens in found)
        return [text.decode(errors="replace").strip() for text in written]
    return [" ".join(tokens) for tokens in found]


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise DataError(f"a program wrote {line[:100]!r}; expected a JSON object in each line")
    return values
