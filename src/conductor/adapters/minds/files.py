"""Look at model files before anything loads them: which they are, whether they are whole, whether they fit into memory.

Weights are taken as safetensors and GGUF only: both are data. Pickles (`pytorch_model.bin`, `.pt`) run code when they
are loaded, so they are refused. Only headers are read here, except for checksums.

Not covered: whether the numbers in a file mean anything; GGUF's tensors, which llama.cpp checks.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conductor.domain.errors import ModelError
from conductor.domain.units import MIB, format_bytes

_LONGEST_HEADER: Final = 100 * MIB  # the format's own bound
#: What a model needs beside its weights: caches, buffers, the program.
_BESIDE_BYTES: Final = 300 * MIB


@dataclass(frozen=True, slots=True)
class Weights:
    """The safetensors files of a model, sorted, with how many numbers they hold in how many bytes."""

    files: tuple[Path, ...]
    numbers: int
    size_bytes: int


def safetensors_in(folder: Path) -> Weights:
    """The weights in a folder, each file's header checked against its size.

    Raises:
        ModelError: no safetensors are there, or one is not whole; names the remedy.
    """
    files = tuple(sorted(path for path in folder.glob("*.safetensors") if path.is_file()))
    if not files:
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        if pickles:
            raise _refused(
                f"{folder} holds {pickles[0]} only, a format that runs code when it is loaded; "
                "take a model that offers safetensors, or convert it where you trust it"
            )
        raise _refused(f"{folder} holds no .safetensors file; name the folder of a model, or fetch it again")
    numbers = sum(_numbers_in(path) for path in files)
    return Weights(files, numbers, sum(path.stat().st_size for path in files))


def check_gguf(path: Path) -> int:
    """See that a file is there and begins like GGUF; its size in bytes.

    Raises:
        ModelError: it does not; names the remedy.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        size = path.stat().st_size
    except OSError as missing:
        raise _refused(f"the model {path} cannot be read: {missing.strerror}; check mind.model") from missing
    if magic != b"GGUF":
        raise _refused(f"{path} is no GGUF file (it begins with {magic!r}); fetch it again or name another file")
    return size


def check_memory(what: str, *, weight_bytes: int, available_bytes: int) -> None:
    """See that weights fit into the memory that is free now.

    Raises:
        ModelError: they do not; names both sizes and the remedy.
    """
    needed = weight_bytes + _BESIDE_BYTES
    if needed > available_bytes:
        raise ModelError(
            f"{what} needs {format_bytes(needed)} of memory but {format_bytes(available_bytes)} are free; "
            "free memory, or choose a smaller model or one with fewer bits (a Q4_K_M GGUF)",
            field="mind.model",
            details={"needed_bytes": needed, "available_bytes": available_bytes},
        )


def digest(files: tuple[Path, ...]) -> str:
    """SHA-256 of one file, or of the digests of several in the order given; lowercase hex. Reads everything."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _numbers_in(path: Path) -> int:
    """How many numbers a safetensors file holds; its header says where each tensor ends.

    Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors
    (https://huggingface.co/docs/safetensors).
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            tensors = list(_tensors(json.loads(file.read(min(length, _LONGEST_HEADER)))))
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as wrong:
        raise _refused(f"{path} is no whole safetensors file ({wrong}); fetch it again") from wrong
    expected = 8 + length + max((end for _, end in tensors), default=0)
    found = path.stat().st_size
    if found != expected:
        raise _refused(f"{path} is damaged: {expected:,} bytes expected, {found:,} found; fetch it again")
    return sum(count for count, _ in tensors)


def _tensors(header: dict[str, dict[str, list[int]]]) -> Iterator[tuple[int, int]]:
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for length in tensor["shape"]:
                count *= length
            yield count, tensor["data_offsets"][1]


def _refused(message: str) -> ModelError:
    return ModelError(message, field="mind.model")
