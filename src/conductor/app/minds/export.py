"""Write our own language model as a file that other engines run."""

from pathlib import Path

from conductor.adapters.mind_llama.gguf_export import export_gguf


def export_own_mind(target: Path, *, float32: bool) -> int:
    """Write the GGUF file, its numbers in full where that is asked for, and return its size in bytes.

    Raises:
        ModelError: the package `gguf` is missing.
        InvalidInput: the file exists already, or nothing can be written where it is to be.
        StorageError: the model's files are missing or damaged, or the disk is full or fails.
    """
    export_gguf(target, float32=float32)
    return target.stat().st_size
