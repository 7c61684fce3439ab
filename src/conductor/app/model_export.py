"""Write our own language model as a file that other engines run."""

from pathlib import Path

from conductor.adapters.mind_llama.gguf_export import export_gguf


def export_own_mind(target: Path) -> int:
    """Write the GGUF file and return its size in bytes.

    Raises:
        ModelError: the package `gguf` is missing, or the file exists already.
        StorageError: the model's files are missing or damaged, or the file cannot be written.
    """
    export_gguf(target)
    return target.stat().st_size
