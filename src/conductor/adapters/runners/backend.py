"""The backends of models on this machine: which names are theirs, where the files lie, what they will take, loading them.

A name is a folder, a `.gguf` file, or the id of a model that Hugging Face's tools have fetched already (`owner/name`,
`owner/name/file.gguf`); nothing is fetched here. Reading headers and the arithmetic of memory are handed in.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.runners.precisions import attainable
from conductor.adapters.runners.process import EngineCommand, ProcessRunner, start
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError, NotFound
from conductor.domain.model import ModelName, Precision
from conductor.serving.ports import MemoryNeed

#: What a model at a path takes in a precision, by its headers; errors as `Backend.need`. Blocking.
NeedOf = Callable[[Path, Precision], MemoryNeed]

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w./-]+\.gguf)?", re.IGNORECASE)
_GGUF: Final = ".gguf"
_CARD: Final = "cuda:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model may use of the machine.

    Args:
        threads: of the processor; leave a core free, llama.cpp's threads spin.
        rows: requests that are computed at a time.
        context_tokens: longest context that is kept; None takes what the model knows.
    """

    threads: int
    rows: int = 8
    context_tokens: int | None = None


class _LocalBackend:
    """What both have in common."""

    name: str

    def __init__(self, *, command: EngineCommand, hub: HubCache, need_of: NeedOf, limits: Limits, clock: Clock) -> None:
        self._command = command
        self._hub = hub
        self._need_of = need_of
        self._limits = limits
        self._clock = clock

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        """As `Backend.need`."""
        path = await asyncio.to_thread(self._path_of, model)
        return await asyncio.to_thread(self._need_of, path, self._computed(precision))

    async def load(self, model: ModelName, precision: Precision) -> ProcessRunner:
        """As `Backend.load`; `ProcessRunner.notes` says what is otherwise than it was asked for."""
        return await self._started(model, precision, self._command, ())

    async def _started(
        self, model: ModelName, precision: Precision, command: EngineCommand, more: Sequence[str]
    ) -> ProcessRunner:
        path = await asyncio.to_thread(self._path_of, model)
        arguments = [
            "--backend", self.name, "--path", str(path), "--name", model, "--precision", precision.value,
            "--threads", str(self._limits.threads), "--rows", str(self._limits.rows),
        ]  # fmt: skip
        if self._limits.context_tokens is not None:
            arguments += ["--context", str(self._limits.context_tokens)]
        return await start(command, [*arguments, *more], name=model, clock=self._clock)

    def _computed(self, precision: Precision) -> Precision:
        """The precision that will be used where this one is asked for."""
        return precision

    def _path_of(self, model: ModelName) -> Path:
        return path_of(model, self._hub)


class TransformersBackend(_LocalBackend):
    """Safetensors folders and ids of the Hugging Face cache, on torch.

    Args:
        accelerator: whether this machine has a GPU that torch will use.
        bitsandbytes: whether that library is installed.
    """

    name = "transformers"

    def __init__(
        self, *, command: EngineCommand, hub: HubCache, need_of: NeedOf, limits: Limits, clock: Clock,
        accelerator: bool, bitsandbytes: bool,
    ) -> None:  # fmt: skip
        super().__init__(command=command, hub=hub, need_of=need_of, limits=limits, clock=clock)
        self._means: Mapping[str, bool] = {"accelerator": accelerator, "bitsandbytes": bitsandbytes}

    async def load_on(self, devices: Sequence[str], model: ModelName, precision: Precision) -> ProcessRunner:
        """As `PlacingBackend.load_on`: the process sees these cards and no others."""
        command = replace(self._command, environment={**self._command.environment, **only_these(devices)})
        return await self._started(model, precision, command, ["--devices", *devices])

    def can_load(self, model: ModelName) -> bool:
        """Paths and hub ids that name no GGUF file."""
        return "://" not in model and not model.lower().endswith(_GGUF) and _is_local_name(model)

    def _computed(self, precision: Precision) -> Precision:
        return attainable(precision, **self._means)[0]


class LlamaCppBackend(_LocalBackend):
    """GGUF files, on llama.cpp."""

    name = "llama.cpp"

    def can_load(self, model: ModelName) -> bool:
        """Names that end in `.gguf`."""
        return "://" not in model and model.lower().endswith(_GGUF)


def only_these(devices: Sequence[str]) -> Mapping[str, str]:
    """Environment of a process that sees these cards only, in this order; nothing where they are no cards.

    NVIDIA's and AMD's names for the same: each library reads its own.
    """
    numbers = ",".join(device.removeprefix(_CARD) for device in devices if device.startswith(_CARD))
    if not numbers:
        return {}
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the driver's, in which cards were counted
    return {**order, "CUDA_VISIBLE_DEVICES": numbers, "HIP_VISIBLE_DEVICES": numbers}


def path_of(model: str, hub: HubCache) -> Path:
    """Where a model's files are; blocking.

    Raises:
        NotFound: they are not on this machine; the message says how to get them.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    if not _HUB_ID.fullmatch(model) or path.is_absolute():
        raise NotFound(f"there is no model at {model}; check the path in the model table", field="model")
    owner, name, *file = model.split("/", 2)
    try:
        folder = hub.folder_of(f"{owner}/{name}")
    except ModelError as absent:
        raise NotFound(
            f"the model {model} is not on this machine; fetch it with `hf download {owner}/{name}`", field="model"
        ) from absent
    found = folder.joinpath(*file)
    if not found.exists():
        raise NotFound(f"{model} is not among the files of {owner}/{name} on this machine", field="model")
    return found


def _is_local_name(model: str) -> bool:
    starts: Sequence[str] = ("/", "./", "../", "~")
    return model.startswith(tuple(starts)) or _HUB_ID.fullmatch(model) is not None
