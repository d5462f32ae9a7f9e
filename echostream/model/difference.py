"""Checkpoints that hold only what differs from another one, their base.

Symbols: ``n`` numbers of a tensor, ``G = ceil(n / 64)`` groups.

``difference.safetensors`` stands in the place of ``model.safetensors``. A tensor that it does not
name is the base's; one that it has as float16 (float32 for CMVN statistics) takes the base's place;
and of ``NAME`` with the two tensors

    NAME:values   uint8 [G, 32]   two numbers of 4 bits a byte, the first in the lower half
    NAME:scales   float16 [G]

the flattened numbers are the base's plus ``(v - 8) * scale``, ``v`` being 1 to 15. The last group
is filled up with zeros. A change of low rank is stored as two such tensors, ``NAME:left`` and
``NAME:right``, whose product it is. The header names the base and has a sum of its weights, so
that a difference is never added to other weights than those that it was taken from; and tensors of
the base that the checkpoint is without.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from echostream.errors import CheckpointError
from echostream.locations import FETCHED, cache_folder, find_checkpoint
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

FILE = "difference.safetensors"
FORMAT = "echostream-difference-1"
GROUP = 64
_LEVELS = 7
"""Steps of the scale on either side of zero."""
_SMALL = 4096
"""Tensors of fewer numbers (biases, norms) are stored whole: they are few and matter."""
SILENCE_ROWS = "text_decoder.silence"
"""Made of the other weights, with last bits that depend on the machine: no sum counts it."""
_VALUES, _SCALES = ":values", ":scales"
_LEFT, _RIGHT = ":left", ":right"

Factors = tuple[Tensor, Tensor]
"""``[O, r]`` and ``[r, I]``, whose product is what is added to a weight ``[O, I]``."""


@dataclass(frozen=True)
class Header:
    """What a difference says of itself."""

    base: str
    """Name of the base."""
    base_sum: str
    """:func:`sum_of` its weights."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of the tensors that are stored in 4 bits."""
    absent: frozenset[str]
    """Tensors of the base that are not wanted."""


def has_difference(folder: str | Path) -> bool:
    """Whether the checkpoint in ``folder`` stands on another."""
    return (Path(folder) / FILE).is_file()


def write_difference(
    state: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    base_name: str,
    folder: str | Path,
    *,
    exact: Collection[str] = (),
    low_rank: Mapping[str, Factors] | None = None,
) -> None:
    """Write the difference between two states.

    Tensors that are the same as float16 are left out. Those that ``exact`` names and small ones
    are stored whole, the others in 4 bits: off by at most half a scale, which is a seventh of the
    largest difference in the group of 64.

    Args:
        state: the weights to be kept; a tensor that the base lacks, or has in another shape, is a
            difference from zero, and one that only the base has is noted as absent.
        base: weights of the base, as stored in its folder.
        base_name: what it is found by.
        folder: where to write.
        exact: names of tensors to store whole.
        low_rank: by name, the changes that are kept as factors; the state has the base's weights
            there.

    Raises:
        CheckpointError: if a weight is not finite as float16.
        DataError: if it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    absent = {
        name for name, old in base.items() if name not in state or state[name].shape != old.shape
    }
    for name, tensor in state.items():
        new = tensor.detach().cpu()
        is_new = name not in base or name in absent
        old = torch.zeros_like(new) if is_new else base[name]
        is_statistic = "cmvn" in name
        whole = new.contiguous() if is_statistic else new.to(torch.float16).contiguous()
        if not bool(torch.isfinite(whole).all()):
            raise CheckpointError(f"{name} has values that are not finite; nothing was saved")
        if not is_new and torch.equal(whole, old.to(whole.dtype)):
            continue
        if is_statistic or name in exact or new.numel() < _SMALL:
            tensors[name] = whole
            continue
        tensors[name + _VALUES], tensors[name + _SCALES] = _packed(new.float() - old.float())
        shapes[name] = tuple(new.shape)
    for name, factors in (low_rank or {}).items():
        for side, factor in zip((_LEFT, _RIGHT), factors, strict=True):
            tensors[name + side + _VALUES], tensors[name + side + _SCALES] = _packed(factor)
            shapes[name + side] = tuple(factor.shape)
    header = Header(base_name, sum_of(base), shapes, frozenset(absent))
    _write(Path(folder), header, tensors)


def extend_difference(
    folder: str | Path, tensors: Mapping[str, Tensor], output: str | Path
) -> None:
    """Write the difference in ``folder`` with more whole tensors, or others of such, to ``output``.

    Raises:
        CheckpointError: if the difference is damaged.
        DataError: if it cannot be written.
    """
    header, found = _read(Path(folder) / FILE)
    found |= {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
    _write(Path(output), header, found)


def _write(folder: Path, header: Header, tensors: dict[str, Tensor]) -> None:
    metadata = {
        "format": FORMAT,
        "base": header.base,
        "base_sum": header.base_sum,
        "shapes": json.dumps(header.shapes),
    }
    if header.absent:
        metadata["absent"] = json.dumps(sorted(header.absent))
    write_whole(folder / FILE, safetensors.torch.save(tensors, metadata=metadata))


def read_difference(folder: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint that stands on another, floats as float32.

    Nothing is fetched.

    Raises:
        CheckpointError: if the difference is damaged, or its base is not there or another one.
    """
    path = Path(folder) / FILE
    header, tensors = _read(path)
    base_folder = base_of(folder)
    try:
        base = safetensors.torch.load_file(base_folder / "model.safetensors")
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"cannot load {base_folder / 'model.safetensors'}, the base of {folder}: {error}; "
            f"{_advice(header.base)}"
        ) from error
    found = sum_of(base)
    if found != header.base_sum:
        raise CheckpointError(
            f"the weights in {base_folder} have the sum {found[:12]}; expected "
            f"{header.base_sum[:12]}, those that {path} was made from: {_advice(header.base)}"
        )
    result = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in base.items()
        if name not in header.absent
    }
    for name, tensor in tensors.items():
        if not name.endswith((_VALUES, _SCALES)):
            result[name] = tensor.float()
    changes, low_rank = _changes(header, tensors, path)
    changes |= {name: left @ right for name, (left, right) in low_rank.items()}
    for name, change in changes.items():
        old = result.get(name, torch.zeros(change.shape))
        if old.shape != change.shape:
            raise CheckpointError(
                f"{path} changes {name} of shape {tuple(change.shape)}; the base has "
                f"{tuple(old.shape)}"
            )
        result[name] = old + change
    logger.info("%s: the weights of %s and %s", folder, base_folder, path.name)
    return result


def low_rank_changes(folder: str | Path) -> dict[str, Factors]:
    """By name of a weight the factors of its change, of the difference in ``folder``.

    Raises:
        CheckpointError: if the difference is damaged.
    """
    path = Path(folder) / FILE
    return _changes(*_read(path), path)[1]


def base_of(folder: str | Path) -> Path:
    """The folder of the checkpoint that the one in ``folder`` stands on.

    Raises:
        CheckpointError: if it is not there, or the difference cannot be read.
    """
    header, _ = _read(Path(folder) / FILE, header_only=True)
    beside = Path(folder).resolve().parent / header.base
    for candidate in (cache_folder() / header.base, beside):
        if candidate.is_dir():
            return candidate
    if header.base in FETCHED:
        find_checkpoint(header.base)
    raise CheckpointError(
        f"{folder} stands on the checkpoint {header.base}, which is neither in {cache_folder()} "
        f"nor beside it; {_advice(header.base)}"
    )


def sum_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights as float16.

    Statistics, :data:`SILENCE_ROWS` and tensors of nothing but zeros do not count.
    """
    sums = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if "cmvn" not in name and name != SILENCE_ROWS and bool(tensor.any()):
            half = tensor.detach().cpu().to(torch.float16).contiguous()
            sums.update(f"{name} {tuple(half.shape)}\n".encode())
            sums.update(half.flatten().view(torch.uint8).numpy().data)
    return sums.hexdigest()


def _packed(change: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor as values ``[G, 32]`` and scales ``[G]``."""
    flat = change.flatten()
    groups = torch.nn.functional.pad(flat, (0, -len(flat) % GROUP)).view(-1, GROUP)
    scales = (groups.abs().amax(dim=1) / _LEVELS).to(torch.float16)
    steps = scales.float()[:, None].clamp_min(torch.finfo(torch.float16).tiny * 2**-10)
    values = (groups / steps).round().clamp(-_LEVELS, _LEVELS).to(torch.int16) + 8
    pairs = values.view(-1, GROUP // 2, 2)
    return (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.uint8), scales


def _changes(
    header: Header, tensors: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], dict[str, Factors]]:
    """What is stored in 4 bits: changes, and those of low rank as factors."""
    changes = {name: _unpacked(tensors, name, shape, path) for name, shape in header.shapes.items()}
    low_rank = {}
    for name in [name for name in changes if name.endswith(_LEFT)]:
        left, right = changes.pop(name), changes.pop(name.removesuffix(_LEFT) + _RIGHT, None)
        if right is None or left.ndim != 2 or left.shape[1:] != right.shape[:1]:
            raise CheckpointError(f"{path} has half of a difference, {name}; copy the file again")
        low_rank[name.removesuffix(_LEFT)] = left, right
    return changes, low_rank


def _unpacked(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], path: Path
) -> Tensor:
    """The difference of one tensor, float32."""
    values, scales = tensors.get(name + _VALUES), tensors.get(name + _SCALES)
    count = int(torch.Size(shape).numel())
    groups = -(-count // GROUP)
    if (
        values is None
        or scales is None
        or (values.dtype, tuple(values.shape)) != (torch.uint8, (groups, GROUP // 2))
        or (scales.dtype, tuple(scales.shape)) != (torch.float16, (groups,))
    ):
        raise CheckpointError(
            f"{path} has no whole difference of {name}; expected {groups} groups of {GROUP} "
            "numbers: copy the file again"
        )
    pairs = torch.stack((values & 15, values >> 4), dim=-1).view(groups, GROUP)
    change = (pairs.float() - 8) * scales.float()[:, None]
    return change.flatten()[:count].view(shape)


def _read(path: Path, *, header_only: bool = False) -> tuple[Header, dict[str, Tensor]]:
    advice = "expected a complete file that an adaptation wrote, copy the checkpoint again"
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = () if header_only else tuple(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"cannot load {path}: {error}; {advice}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')!r}, not {FORMAT!r}; {advice}"
        )
    try:
        shapes = {
            name: tuple(int(size) for size in shape)
            for name, shape in json.loads(metadata["shapes"]).items()
        }
        absent = frozenset(str(name) for name in json.loads(metadata.get("absent", "[]")))
        header = Header(metadata["base"], metadata["base_sum"], shapes, absent)
        if any(size < 0 for shape in shapes.values() for size in shape):
            raise ValueError("a size is negative")
        if Path(header.base).name != header.base or header.base in ("", ".", ".."):
            raise ValueError(f"the base is {header.base!r}, which is no name")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the header of {path} is damaged: {error!r}; {advice}") from error
    return header, tensors


def _advice(base: str) -> str:
    if base in FETCHED:
        return f"run `echostream fetch {base}` again"
    return "put that checkpoint's folder there"
