"""Measure the memory that models could still be loaded into: the machine's own, and that of NVIDIA cards.

The machine's memory is what may be taken without swapping, within what a container or control group allows; a card's
is what its driver says. Cards are named `cuda:0` … in the driver's order, which is CUDA's where `CUDA_DEVICE_ORDER` is
`PCI_BUS_ID`.

Not covered: cards of other makers, whose models are counted against the machine's memory (right where it is shared, as
on Apple silicon); cards that are hidden by `CUDA_VISIBLE_DEVICES`.
"""

import asyncio
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from conductor.adapters.sensors.allowance import MemoryAllowance
from conductor.adapters.sensors.tree import Tree

CPU = "cpu"


class MachineMemory:
    """A `MemoryMeter` of this machine. `open` finds the cards; before it there are none.

    Args:
        tree: where the kernel tells what this process may use.
        on_cards: backends that put models on cards where there are some.
        load: returns the `pynvml` module; a test hands in another.
    """

    def __init__(
        self,
        tree: Tree | None = None,
        *,
        on_cards: Collection[str],
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
    ) -> None:
        self._allowance = MemoryAllowance(tree or Tree(Path("/")))
        self._on_cards = frozenset(on_cards)
        self._load = load
        self._nvml: Any = None
        self._cards: dict[str, Any] = {}

    def open(self) -> None:
        """Find the cards; blocking, a tenth of a second where there is a driver. None are found where there is none."""
        nvml = self._load()
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError:  # no driver, or one that does not answer: models go into the machine's memory
            return
        self._nvml = nvml
        self._cards = {f"cuda:{index}": handle for index, handle in enumerate(handles)}

    def devices(self, backend: str) -> Sequence[str]:
        """As `MemoryMeter.devices`."""
        return tuple(self._cards) if self._cards and backend in self._on_cards else (CPU,)

    async def free_bytes(self) -> Mapping[str, int]:
        """As `MemoryMeter.free_bytes`; a card that does not answer has nothing free."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> dict[str, int]:
        free = {CPU: self._allowance.free_bytes(psutil.virtual_memory().available)}
        for name, handle in self._cards.items():
            try:
                free[name] = int(self._nvml.nvmlDeviceGetMemoryInfo(handle).free)
            except self._nvml.NVMLError:
                free[name] = 0
        return free
