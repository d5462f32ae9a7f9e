"""Read the ``model.bin`` of a CTranslate2 folder.

All numbers are little-endian, all strings have a length of 16 bits that counts the zero at their
end::

    u32 version (6)   string specification   u32 revision   u32 number of variables
    of each variable: string name   u8 rank   u32 dims[rank]   u8 type   u32 bytes   data
    u32 number of aliases
    of each alias:    string alias   string name

The types are 0 float32, 1 int8, 2 int16, 3 int32, 4 float16, 5 bfloat16.
"""

import math
import mmap
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from echostream.errors import CheckpointError

VERSION = 6
_TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_SIZES = {"B": 1, "H": 2, "I": 4}
_ADVICE = f"expected a whole model.bin of version {VERSION}: copy it again, or convert it again"


class _Reader:
    """Takes one thing after the other and never reads past the end."""

    def __init__(self, data: mmap.mmap, path: str | Path) -> None:
        self._data, self._path, self._at = data, path, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self._path} at byte {self._at}: {what}; {_ADVICE}")

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise self.damaged(f"{size} bytes are announced and {self.left} are left")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, kind: str) -> int:
        value: int = struct.unpack("<" + kind, self.take(_SIZES[kind]))[0]
        return value

    def string(self) -> str:
        text = self.take(self.number("H"))
        try:
            if text[-1:] != b"\0":
                raise ValueError
            return text[:-1].decode()
        except ValueError:
            raise self.damaged(f"{text[:40]!r} is not a string") from None

    def variable(self) -> tuple[str, Tensor]:
        name = self.string()
        dims = [self.number("I") for _ in range(self.number("B"))]
        kind, size = self.number("B"), self.number("I")
        if kind not in _TYPES:
            raise self.damaged(
                f"{name} is of type {kind}; expected float32 or float16 weights "
                "(--quantization float16)"
            )
        dtype = np.dtype(_TYPES[kind])
        if math.prod(dims) * dtype.itemsize != size:
            raise self.damaged(f"{name} of shape {tuple(dims)}, {dtype.name}, has {size} bytes")
        values = np.frombuffer(self.take(size), dtype).reshape(dims)
        return name, torch.from_numpy(values.copy())


def read_variables(path: str | Path) -> dict[str, Tensor]:
    """All variables of a ``model.bin`` by name; aliases are left out.

    Raises:
        CheckpointError: the file is missing, of another version, damaged, or quantised to a type
            that is not read.
    """
    try:
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            return _read(_Reader(m, path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; {_ADVICE}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise CheckpointError(f"{path} is empty; {_ADVICE}") from error


def _read(reader: _Reader) -> dict[str, Tensor]:
    version = reader.number("I")
    if version != VERSION:
        raise reader.damaged(f"the version is {version}")
    # Specification and revision say nothing new: names are checked when they are used.
    reader.string()
    reader.number("I")
    tensors: dict[str, Tensor] = {}
    for _ in range(reader.number("I")):
        name, tensor = reader.variable()
        if name in tensors:
            raise reader.damaged(f"{name} is there twice")
        tensors[name] = tensor
    if reader.left:  # files without aliases may end here
        for _ in range(2 * reader.number("I")):
            reader.string()
    if reader.left:
        raise reader.damaged(f"{reader.left} bytes are left over")
    return tensors
