"""Read the header of a safetensors file, or of the several files that an index lists, and see that they are whole.

Format: 8 bytes little-endian length, that many bytes of JSON that names each tensor's type, shape and place, then the
tensors without gaps (https://huggingface.co/docs/safetensors). Every number is checked against the file's size before
it is used; the tensors themselves are not read.

Not covered: whether the numbers in the tensors mean anything.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, Final

from conductor.adapters.model_headers.refusals import absent, corrupt, empty, unsafe
from conductor.domain.units import MIB

_LONGEST_HEADER: Final = 100 * MIB  # the format's own bound
_LONGEST_INDEX: Final = 100 * MIB
_MOST_DIMENSIONS: Final = 16
#: Bits of a number, by the format's names (safetensors 0.8, `Dtype::bitsize`).
_FLOAT_BITS: Final = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
_OTHER_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
_BITS: Final = _FLOAT_BITS | _OTHER_BITS


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's place in a file: bytes `begin` to `end` after the header."""

    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def count(self) -> int:
        """Numbers it holds."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes it takes in the file."""
        return self.end - self.begin

    @property
    def is_float(self) -> bool:
        """Whether a precision applies to it."""
        return self.kind in _FLOAT_BITS


def tensors_in(path: Path) -> tuple[Tensor, ...]:
    """The tensors of one file, in the order of their places.

    Raises:
        NotFound: there is no such file.
        ModelError: it is empty or corrupt (`details["reason"]`).
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size == 0:
                raise empty(path)
            if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise corrupt(path, f"its header claims {length:,} bytes, the file has {size:,}")
            raw = file.read(length)
    except OSError as unreadable:
        raise absent(path, unreadable.strerror or "it cannot be read") from unreadable
    header = _header(path, raw)
    tensors = sorted((_tensor(path, name, entry) for name, entry in header.items()), key=lambda one: one.begin)
    _check_places(path, tensors, size - 8 - length)
    if not tensors:
        raise empty(path, "holds no tensors")
    return tuple(tensors)


def tensors_of_index(index: Path) -> tuple[Tensor, ...]:
    """The tensors of all files that a `model.safetensors.index.json` lists.

    Raises:
        NotFound: the index, or a file that it lists, is not there.
        ModelError: one of them is empty, corrupt or unsafe, or a tensor is in another file than the index says.
    """
    places = _index(index)
    found: dict[str, str] = {}
    tensors: list[Tensor] = []
    for name in sorted(set(places.values())):
        for tensor in tensors_in(index.parent / name):
            if tensor.name in found:
                raise corrupt(index, f"tensor {tensor.name!r} is in {found[tensor.name]} and in {name}")
            found[tensor.name] = name
            tensors.append(tensor)
    for tensor_name, file_name in places.items():
        if found.get(tensor_name) != file_name:
            raise corrupt(index, f"tensor {tensor_name!r} is not in {file_name}, where the index has it")
    return tuple(tensors)


def _index(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > _LONGEST_INDEX:
            raise corrupt(index, f"an index of more than {_LONGEST_INDEX:,} bytes is none")
        content = json.loads(index.read_bytes())
    except OSError as unreadable:
        raise absent(index, unreadable.strerror or "it cannot be read") from unreadable
    except (ValueError, RecursionError) as wrong:
        raise corrupt(index, "it is no JSON") from wrong
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise corrupt(index, "it has no `weight_map`")
    for name in places.values():
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise corrupt(index, f"it names the file {name!r}, which is not beside it")
        if not name.endswith(".safetensors"):
            raise unsafe(index.parent / name)
    return places


def _header(path: Path, raw: bytes) -> dict[str, Any]:
    if raw[:1] != b"{":
        raise corrupt(path, f"its header begins with {raw[:8]!r}")
    try:
        header = json.loads(raw.decode(), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as wrong:
        raise corrupt(path, f"its header is no JSON ({str(wrong)[:100]})") from wrong
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise corrupt(path, "`__metadata__` holds something other than texts")
    return dict(header)


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _tensor(path: Path, name: str, entry: object) -> Tensor:
    fields = entry if isinstance(entry, dict) else {}
    kind, shape, place = fields.get("dtype"), _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if not isinstance(kind, str) or kind not in _BITS:
        raise corrupt(path, f"tensor {name!r} is of the unknown type {kind!r}")
    if shape is None or place is None or len(place) != 2 or len(shape) > _MOST_DIMENSIONS:
        raise corrupt(path, f"tensor {name!r} has no usable shape and place")
    tensor = Tensor(name, kind, shape, place[0], place[1])
    if tensor.size_bytes * 8 != tensor.count * _BITS[kind]:
        raise corrupt(path, f"tensor {name!r} has {tensor.count:,} numbers of {kind} in {tensor.size_bytes:,} bytes")
    return tensor


def _sizes(numbers: object) -> tuple[int, ...] | None:
    """Whole numbers that a file can hold; None for anything else."""
    if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one < 2**63 for one in numbers):
        return None
    return tuple(numbers)


def _check_places(path: Path, tensors: Iterable[Tensor], data_bytes: int) -> None:
    """The tensors lie one behind the other from 0 to the end of the file."""
    borders = [("the header", 0, 0), *((repr(one.name), one.begin, one.end) for one in tensors)]
    for (before, _, end), (name, begin, _) in pairwise(borders):
        if begin != end:
            raise corrupt(path, f"tensor {name} begins at {begin:,}, {before} ends at {end:,}")
    if borders[-1][2] != data_bytes:
        raise corrupt(path, f"{borders[-1][2]:,} bytes of tensors expected, {data_bytes:,} found")
