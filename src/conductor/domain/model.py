"""A language model as a user names it, what it is asked to be, and what has become of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

#: What a model is for, as a slug: `conversational_chat`. Engines bring their own, so this is no closed list.
Category = NewType("Category", str)

#: What names a model technically: a Hugging Face id, a folder, a `.gguf` path, an endpoint's address with `#model`.
ModelName = NewType("ModelName", str)


class Precision(StrEnum):
    """How a model's numbers are held in memory."""

    FP32 = "FP32"
    BF16 = "BF16"
    FP16 = "FP16"
    INT8 = "8-bit"
    INT4 = "4-bit"

    @property
    def bytes_per_weight(self) -> float:
        """Of the large matrices; scales of quantised blocks are counted in."""
        return {"FP32": 4.0, "BF16": 2.0, "FP16": 2.0, "8-bit": 1.0625, "4-bit": 0.5625}[self.value]


class ModelState(StrEnum):
    """What has become of a model; `ERROR` is left by the next attempt to load it."""

    ABSENT = "absent"
    WAITING = "waiting"
    LOADING = "loading"
    LOADED = "loaded"
    UNLOADING = "unloading"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One row of the model table: which model serves a category, and how it is kept.

    Args:
        category: what it is for.
        title: the name for people, `Llama 3.1 8B`.
        name: the technical name.
        memory_bytes: what the user expects it to take; None where the table does not say. An estimate from the file's
            headers and what was measured are believed over it.
        stay_loaded: loaded at the start and only unloaded by hand.
        precision: as asked for; a GGUF file's own precision is fixed and this one is ignored then.
    """

    category: Category
    title: str
    name: ModelName
    memory_bytes: int | None
    stay_loaded: bool
    precision: Precision
