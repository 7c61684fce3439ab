"""What our models have in common: files beside a card, loaded once, after they were compared with it; run by onnxruntime.

Nothing heavy is imported or read before the first use. What a model consists of once it is loaded, and what it is asked,
is its own adapter's.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from conductor.adapters.model_card import read_card, verify

if TYPE_CHECKING:
    import numpy.typing as npt
    from onnxruntime import InferenceSession

Parts = TypeVar("Parts")


class ShippedModel(ABC, Generic[Parts]):
    """The files of one model, and what they are loaded into; thread-safe.

    Args:
        folder: where the files and their card lie.
        weights: the file whose digest stands for the model.
        others: the files it needs besides.

    Raises:
        StorageError: the card is missing or does not name every file.
    """

    def __init__(self, folder: Path, weights: str, *others: str) -> None:
        self._folder = folder
        self._weights = weights
        self._card = read_card(folder, (weights, *others))
        self._lock = threading.Lock()
        self._loaded: Parts | None = None

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        return self._card.name

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights in lowercase hex; loads the model.

        Raises:
            StorageError: a file beside the card is not the one the card was written for.
        """
        self._parts()
        return self._card.sha256[self._weights]

    def _parts(self) -> Parts:
        """What was loaded; blocking at the first use. Raises as `checksum` does."""
        with self._lock:
            if self._loaded is None:
                verify(self._folder, self._card)
                self._loaded = self._load()
            return self._loaded

    @abstractmethod
    def _load(self) -> Parts:
        """Make the model of its files, which are those that the card names."""


def open_graph(
    graph: Path, *, threads: int, initializers: Mapping[str, "npt.NDArray[Any]"] | None = None
) -> "InferenceSession":
    """A graph on the processor, with as little memory and as few threads as it takes.

    Args:
        initializers: values of tensors that the graph leaves open, by name.
    """
    from onnxruntime import InferenceSession, OrtValue, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps the largest batch it ever saw; without it memory stays flat for a few per cent of speed.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if initializers:
        values = [OrtValue.ortvalue_from_numpy(value) for value in initializers.values()]
        options.add_external_initializers(list(initializers), values)
    return InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
