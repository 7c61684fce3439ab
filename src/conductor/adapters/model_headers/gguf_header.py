"""Read the header of a GGUF file, versions 2 and 3, and see that its tensors lie within the file.

Every length is checked against what is left of the file before anything is read or reserved for it: a damaged file may
ask for terabytes. Text that is not needed (tokens, the chat template) is stepped over, never kept.

Source: the format's description, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
A model in several files (`…-00001-of-00003.gguf`) is read from all of them; the first says how it is built.
Not covered: version 1, files written for big-endian machines (both are refused and named).
"""

import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

from conductor.adapters.model_headers.refusals import absent, corrupt, empty, unknown_architecture
from conductor.domain.model import Precision
from conductor.serving.ports import Attention, ModelHeader

#: struct format of the simple value types, by number; 8 is text, 9 an array.
_VALUES: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT: Final = 8
_ARRAY: Final = 9
_DEEPEST_ARRAY: Final = 4
_LONGEST_NAME: Final = 65_535  # of a key; tensors' names are shorter
_LONGEST_KEPT: Final = 1_024  # of texts that are kept: names of architectures
_MOST_KEPT: Final = 1_024  # of array elements that are kept: one a layer
_MOST_DIMENSIONS: Final = 4
_MOST_PARTS: Final = 10_000
_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
#: Numbers in a block and bytes of it, by ggml type (ggml.h; checked against the package `gguf` in the tests).
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
_INTEGERS: Final = frozenset({24, 25, 26, 27})
_PRECISIONS: Final = {0: Precision.FP32, 1: Precision.FP16, 30: Precision.BF16, 8: Precision.INT8} | dict.fromkeys(
    (2, 3, 12, 20, 23, 39, 40), Precision.INT4
)
_TABLES: Final = ("token_embd.weight", "output.weight")

Value = int | float | bool | str | list[int | float | bool | str]


@dataclass(slots=True)
class _Sum:
    """What the tensors add up to."""

    stored_bytes: int = 0
    matrices: int = 0
    tables: int = 0
    vectors: int = 0
    other_bytes: int = 0
    bytes_of_kind: Counter[int] = field(default_factory=Counter)


class _Cursor:
    """A place in a file that cannot be moved beyond its end."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.at, self.size = path, 0, size
        self._file = file

    def take(self, count: int, what: str) -> bytes:
        self._check(count, what)
        self.at += count
        return self._file.read(count)

    def skip(self, count: int, what: str) -> None:
        self._check(count, what)
        self.at += count
        self._file.seek(count, 1)

    def number(self, form: str, what: str) -> int:
        (number,) = struct.unpack(f"<{form}", self.take(struct.calcsize(form), what))
        return int(number)

    def text(self, longest: int, what: str) -> str:
        length = self.number("Q", what)
        if length > longest:
            raise corrupt(self.path, f"{what} claims {length:,} bytes")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError as wrong:
            raise corrupt(self.path, f"{what} is no text") from wrong

    def skip_texts(self, count: int, what: str) -> None:
        """Step over an array of texts; there are hundreds of thousands of tokens, so this loop is kept short."""
        left, read = self.size - self.at, self._file.read
        for _ in range(count):
            length = int.from_bytes(read(8), "little")
            left -= 8 + length
            if left < 0:
                raise corrupt(self.path, f"{what} holds a text of {length:,} bytes, the file ends at {self.size:,}")
            read(length)
        self.at = self.size - left

    def _check(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise corrupt(self.path, f"{what} wants {count:,} bytes at {self.at:,}, the file ends at {self.size:,}")


def read_gguf(path: Path) -> ModelHeader:
    """What a GGUF file, or all that it is the first of, says about its model.

    Raises:
        NotFound: there is no such file, or a further one is missing.
        ModelError: it is empty (a vocabulary alone counts as empty), corrupt, or names no architecture.
    """
    found = _Sum()
    first, *others = parts_of(path)
    values = _read(first, found)
    for other in others:
        _read(other, found)
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise unknown_architecture(path, "does not name its architecture")
    if not found.stored_bytes:
        raise empty(path, "holds a vocabulary and no weights")
    return ModelHeader(
        architecture=architecture,
        fixed=True,
        stored_bytes=found.stored_bytes,
        matrices=found.matrices,
        tables=found.tables,
        vectors=found.vectors,
        other_bytes=found.other_bytes,
        context_tokens=_size(path, values, f"{architecture}.context_length"),
        attention=_attention(path, values, architecture),
        precision=_PRECISIONS.get(found.bytes_of_kind.most_common(1)[0][0]),
    )


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files of the model that a file belongs to, by its name; most have one."""
    named = _PART.fullmatch(path.name)
    if named is None:
        return (path,)
    count = int(named["count"])
    if not 1 <= int(named["number"]) <= count <= _MOST_PARTS:
        raise corrupt(path, "its name says that it is a part that there cannot be")
    return tuple(path.with_name(f"{named['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))


def _read(path: Path, found: _Sum) -> dict[str, Value]:
    """A file's values; its tensors are added up."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise empty(path)
            return _read_from(_Cursor(path, file, size), found)
    except OSError as unreadable:
        raise absent(path, unreadable.strerror or "it cannot be read") from unreadable


def _read_from(cursor: _Cursor, found: _Sum) -> dict[str, Value]:
    tensor_count, value_count = _preamble(cursor)
    values: dict[str, Value] = {}
    for number in range(value_count):
        key = cursor.text(_LONGEST_NAME, f"the name of value {number}")
        value = _value(cursor, cursor.number("I", key), key)
        if value is not None:
            values[key] = value
    _add_tensors(cursor, tensor_count, _alignment(cursor.path, values), found)
    return values


def _preamble(cursor: _Cursor) -> tuple[int, int]:
    """How many tensors and how many values follow."""
    magic = cursor.take(4, "the magic") if cursor.size >= 4 else b""
    if magic != b"GGUF":
        raise corrupt(cursor.path, f"a GGUF file begins with b'GGUF', this one with {magic!r}")
    version = cursor.number("I", "the version")
    if version not in (2, 3):
        told = "it is written for big-endian machines" if version in (2 << 24, 3 << 24) else f"version {version}"
        raise corrupt(cursor.path, f"{told}; versions 2 and 3 are read")
    tensors, values = cursor.number("Q", "the count of tensors"), cursor.number("Q", "the count of values")
    # A value takes at least a length, a type and a byte, a tensor a length, a count, a type and a place.
    if values * 13 + tensors * 24 > cursor.size - cursor.at:
        raise corrupt(cursor.path, f"it claims {tensors:,} tensors and {values:,} values in {cursor.size:,} bytes")
    return tensors, values


def _value(cursor: _Cursor, kind: int, key: str, depth: int = 0) -> Value | None:
    """A value, or None where it is none of those that are kept: long texts, long and nested arrays."""
    if kind == _TEXT:
        length = cursor.number("Q", key)
        if length > _LONGEST_KEPT:
            cursor.skip(length, key)
            return None
        return cursor.take(length, key).decode(errors="replace")
    if kind == _ARRAY:
        return _array(cursor, key, depth + 1)
    if kind not in _VALUES:
        raise corrupt(cursor.path, f"{key!r} is of the unknown type {kind}")
    (value,) = struct.unpack(f"<{_VALUES[kind]}", cursor.take(struct.calcsize(_VALUES[kind]), key))
    return value  # type: ignore[no-any-return]  # a number or a truth value, by the table above


def _array(cursor: _Cursor, key: str, depth: int) -> Value | None:
    kind, count = cursor.number("I", key), cursor.number("Q", key)
    if kind in _VALUES:
        form = _VALUES[kind]
        if count > _MOST_KEPT:
            cursor.skip(count * struct.calcsize(form), key)
            return None
        return list(struct.unpack(f"<{count}{form}", cursor.take(count * struct.calcsize(form), key)))
    if depth > _DEEPEST_ARRAY or count > (cursor.size - cursor.at) // 8:
        raise corrupt(cursor.path, f"{key!r} claims {count:,} elements at depth {depth}")
    if kind == _TEXT:
        cursor.skip_texts(count, key)
        return None
    for _ in range(count):
        _value(cursor, kind, key, depth)
    return None


def _add_tensors(cursor: _Cursor, count: int, alignment: int, found: _Sum) -> None:
    """Add the tensors up, each checked to lie within what follows the header."""
    ends, names = 0, set()
    for number in range(count):
        name = cursor.text(_LONGEST_NAME, f"the name of tensor {number}")
        dimensions = cursor.number("I", name)
        if name in names or dimensions > _MOST_DIMENSIONS:
            raise corrupt(cursor.path, f"tensor {name!r} is there twice or has {dimensions} dimensions")
        names.add(name)
        shape = [cursor.number("Q", name) for _ in range(dimensions)]
        kind, begin = cursor.number("I", name), cursor.number("Q", name)
        size = _tensor_bytes(cursor.path, name, shape, kind)
        if begin % alignment:
            raise corrupt(cursor.path, f"tensor {name!r} begins at {begin:,}, which is not aligned to {alignment}")
        ends = max(ends, begin + size)
        _add(found, name, shape, kind, size)
    data = cursor.at + -cursor.at % alignment
    if count and data + ends > cursor.size:
        raise corrupt(cursor.path, f"its tensors end at {data + ends:,}, the file at {cursor.size:,}")


def _tensor_bytes(path: Path, name: str, shape: list[int], kind: int) -> int:
    if kind not in _BLOCKS:
        raise corrupt(path, f"tensor {name!r} is of the unknown type {kind}")
    block, block_bytes = _BLOCKS[kind]
    if (shape[0] if shape else 1) % block:
        raise corrupt(path, f"tensor {name!r} has rows of {shape[0]:,} numbers in blocks of {block}")
    return prod(shape) // block * block_bytes


def _add(found: _Sum, name: str, shape: list[int], kind: int, size: int) -> None:
    found.stored_bytes += size
    found.bytes_of_kind[kind] += size
    if kind in _INTEGERS:
        found.other_bytes += size
    elif name in _TABLES:
        found.tables += prod(shape)
    elif len(shape) > 1:
        found.matrices += prod(shape)
    else:
        found.vectors += prod(shape)


def _alignment(path: Path, values: dict[str, Value]) -> int:
    alignment = _size(path, values, "general.alignment") or 32
    if alignment > 1 << 20 or alignment & (alignment - 1):
        raise corrupt(path, f"general.alignment is {alignment:,}; it must be a power of two up to a MiB")
    return alignment


def _attention(path: Path, values: dict[str, Value], architecture: str) -> Attention | None:
    layers = _size(path, values, f"{architecture}.block_count")
    width = _size(path, values, f"{architecture}.embedding_length")
    heads = _size(path, values, f"{architecture}.attention.head_count")
    if layers is None or width is None or heads is None:
        return None
    return Attention(
        layers=layers,
        heads=_size(path, values, f"{architecture}.attention.head_count_kv") or heads,
        head_width=_size(path, values, f"{architecture}.attention.key_length") or -(-width // heads),
    )


def _size(path: Path, values: dict[str, Value], key: str) -> int | None:
    """A positive whole number, or the largest of a list with one for each layer; None where it is missing or 0."""
    value = values.get(key)
    numbers = value if isinstance(value, list) else [value]
    if value is None or not numbers:
        return None
    sizes = [number for number in numbers if isinstance(number, int) and 0 <= number < 2**40]
    if len(sizes) < len(numbers):
        raise corrupt(path, f"{key} is {str(value)[:60]}; a whole number is expected")
    return max(sizes) or None
