"""The ways in which model files are refused, told apart by `details["reason"]`."""

from pathlib import Path
from typing import Literal

from conductor.domain.errors import ModelError, NotFound

#: `larger_than_memory` is added by whoever knows the memory (`serving.lifetimes.keep`).
Reason = Literal["absent", "empty", "corrupt", "unsafe", "unknown_architecture"]


def absent(path: Path, why: str = "there is no such file or folder") -> NotFound:
    """Nothing is there, or it cannot be opened."""
    return NotFound(
        f"the model {path} cannot be read: {why}; check the technical name in the model table, or fetch the model",
        field="model",
        details={"reason": "absent"},
    )


def empty(path: Path, what: str = "is empty") -> ModelError:
    """It is there and holds no weights."""
    return _refused("empty", f"{path} {what}; fetch it again, or name the file or folder that has the weights")


def corrupt(path: Path, what: str) -> ModelError:
    """It is not whole, or was never what its name says."""
    return _refused("corrupt", f"{path} is damaged: {what}; fetch it again")


def unsafe(path: Path) -> ModelError:
    """Loading it would run code."""
    return _refused(
        "unsafe",
        f"{path} is in a format that runs code when it is loaded; take a model that offers safetensors or GGUF, "
        "or convert it where you trust it",
    )


def unknown_architecture(path: Path, what: str) -> ModelError:
    """It is whole, and for something that is not known here."""
    return _refused("unknown_architecture", f"{path} {what}; choose a model of an architecture that the backend runs")


def _refused(reason: Reason, message: str) -> ModelError:
    return ModelError(message, field="model", details={"reason": reason})
