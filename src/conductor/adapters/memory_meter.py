"""Measure the memory that models could still be loaded into: the machine's own, and that of its cards.

The machine's memory is what may be taken without swapping, within what a container or control group allows; a card's
is what its driver says. Cards are named `cuda:0` …, as torch calls those of NVIDIA and of AMD; NVIDIA's in the driver's
order, which is CUDA's where `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`, AMD's in that of the kernel's compute topology, which
is ROCm's. Cards that `CUDA_VISIBLE_DEVICES` hides from the server are hidden here.

Not covered: cards of other makers, whose models are counted against the machine's memory (right where it is shared, as
on Apple silicon); what a processor with AMD graphics could take beside its carved-out memory.
"""

import asyncio
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from conductor.adapters.sensors.allowance import MemoryAllowance
from conductor.adapters.sensors.tree import Tree

CPU = "cpu"
CUDA, ROCM = "cuda", "rocm"
_TOPOLOGY: Final = "sys/class/kfd/kfd/topology/nodes"


def cards_of_torch(version: str | None) -> str:
    """Whose cards a build of torch computes on, by its version (`2.13.0+rocm7.0`); empty where on none.

    One that does not say is taken for CUDA's, which is what the package index has.
    """
    build = (version or "").partition("+")[2]
    if build.startswith("rocm"):
        return ROCM
    return "" if build.startswith("cpu") else CUDA


class MachineMemory:
    """A `MemoryMeter` of this machine. `open` finds the cards; before it there are none.

    Args:
        tree: where the kernel tells what this process may use, and what AMD's cards have.
        on_cards: backends that put models on cards where there are some.
        cards: whose cards these use, `cuda` or `rocm`; empty for none.
        visible: as the environment's `CUDA_VISIBLE_DEVICES`: numbers or UUIDs; None shows all.
        load: returns the `pynvml` module; a test hands in another.
    """

    def __init__(
        self,
        tree: Tree | None = None,
        *,
        on_cards: Collection[str],
        cards: str = CUDA,
        visible: str | None = None,
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
    ) -> None:
        self._tree = tree or Tree(Path("/"))
        self._allowance = MemoryAllowance(self._tree)
        self._on_cards = frozenset(on_cards)
        self._computes_on = cards
        self._visible = visible
        self._load = load
        self._cards: dict[str, Callable[[], int]] = {}  # what is free on each

    def open(self) -> None:
        """Find the cards; blocking, a tenth of a second where there is a driver. None are found where there is none."""
        if self._computes_on == ROCM:
            found: list[Callable[[], int]] = [
                partial(_amd_free, self._tree, device) for device in _amd_devices(self._tree)
            ]
            names = [""] * len(found)
        elif self._computes_on == CUDA:
            found, names = _nvidia(self._load())
        else:
            return
        self._cards = {f"cuda:{index}": found[index] for index in _seen(names, self._visible)}

    def devices(self, backend: str) -> Sequence[str]:
        """As `MemoryMeter.devices`."""
        return tuple(self._cards) if self._cards and backend in self._on_cards else (CPU,)

    async def free_bytes(self) -> Mapping[str, int]:
        """As `MemoryMeter.free_bytes`; a card that does not answer has nothing free."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> dict[str, int]:
        free = {CPU: self._allowance.free_bytes(psutil.virtual_memory().available)}
        return free | {name: free_on_card() for name, free_on_card in self._cards.items()}


def _nvidia(nvml: Any) -> tuple[list[Callable[[], int]], list[str]]:
    """What is free on each card, and the cards' UUIDs."""

    def free_of(handle: Any) -> Callable[[], int]:
        def free() -> int:
            try:
                return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
            except nvml.NVMLError:
                return 0

        return free

    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return [free_of(handle) for handle in handles], [str(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    except nvml.NVMLError:  # no driver, or one that does not answer: models go into the machine's memory
        return [], []


def _amd_devices(tree: Tree) -> list[str]:
    """Folders of the cards in ROCm's order; nodes without vector units are processors."""
    nodes = (tree.table(f"{_TOPOLOGY}/{node}/properties") for node in tree.names(_TOPOLOGY, r"\d+$"))
    return [
        f"sys/class/drm/renderD{node.get('drm_render_minor', 0)}/device"
        for node in nodes
        if node.get("simd_count", 0) > 0
    ]


def _amd_free(tree: Tree, device: str) -> int:
    total, used = (tree.number(f"{device}/mem_info_vram_{what}") for what in ("total", "used"))
    return 0 if total is None or used is None else max(0, total - used)


def _seen(names: Sequence[str], visible: str | None) -> list[int]:
    """The numbers of the cards that may be used. As CUDA does, a list is believed up to its first mistake."""
    if visible is None:
        return list(range(len(names)))
    found: list[int] = []
    for wanted in map(str.strip, visible.split(",")):
        if wanted.isdecimal() and int(wanted) < len(names):
            found.append(int(wanted))
        elif (
            index := next((at for at, name in enumerate(names) if wanted and name.startswith(wanted)), None)
        ) is not None:
            found.append(index)
        else:
            break
    return sorted(set(found))
