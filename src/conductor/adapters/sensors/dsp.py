"""Find digital signal processors by what the kernel shows without opening a device.

Covered: remote processors (Qualcomm Hexagon, Texas Instruments C6x and C7x, NXP), FastRPC nodes, the sound DSP of
laptops and Jetson's vision processor. Not covered: remote processors that are no DSPs (modems, microcontrollers).
The sound DSP runs its vendor's firmware only; `fixed-function` says so.
"""

import re
from collections.abc import Iterator
from typing import Final

from conductor.adapters.sensors.bus import device_id, parse_pci_address, platform_devices
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType

#: In the name or the firmware of a remote processor. Source: Linux drivers/remoteproc, device-tree bindings.
_REMOTE: Final = (
    (re.compile(r"adsp"), "Qualcomm Hexagon (audio)"),
    (re.compile(r"cdsp"), "Qualcomm Hexagon (compute)"),
    (re.compile(r"gdsp"), "Qualcomm Hexagon (general)"),
    (re.compile(r"slpi|sdsp"), "Qualcomm Hexagon (sensors)"),
    (re.compile(r"c7[x\d]"), "TI C7x DSP"),
    (re.compile(r"c6[6x]"), "TI C66x DSP"),
    (re.compile(r"\bdsp|[-_.]dsp"), "DSP"),
)
_FASTRPC: Final = (
    ("dev/fastrpc-adsp", "adsp", "Qualcomm Hexagon (audio)"),
    ("dev/adsprpc-smd", "adsp", "Qualcomm Hexagon (audio)"),
    ("dev/adsprpc", "adsp", "Qualcomm Hexagon (audio)"),
)


class DspProbe:
    """Signal processors of boards and laptops."""

    name = "dsp"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def find(self) -> Iterator[Device]:
        """Every signal processor, once, whatever shows it."""
        found: dict[str, Device] = {}
        for device in (*self._remote(), *self._fastrpc(), *self._sound(), *self._vision()):
            found.setdefault(device.device_id, device)
        yield from found.values()

    def _remote(self) -> Iterator[Device]:
        for node in self._tree.names("sys/class/remoteproc", r"remoteproc\d+$"):
            folder = f"sys/class/remoteproc/{node}"
            name, firmware = self._tree.text(f"{folder}/name") or "", self._tree.text(f"{folder}/firmware") or ""
            title = next((title for pattern, title in _REMOTE if pattern.search(f"{name} {firmware}".lower())), None)
            if title is not None:
                running = {"running"} if self._tree.text(f"{folder}/state") in ("running", "attached") else set()
                yield self._device(name or node, title, {"remoteproc", *running})

    def _fastrpc(self) -> Iterator[Device]:
        for node, address, title in _FASTRPC:
            if self._tree.exists(node):
                yield self._device(address, title, {"fastrpc"})

    def _sound(self) -> Iterator[Device]:
        for driver in self._tree.names("sys/bus/pci/drivers", r"sof-audio-pci|snd_sof_amd"):
            for address in filter(parse_pci_address, self._tree.names(f"sys/bus/pci/drivers/{driver}", r"\d")):
                yield self._device(address, "Sound DSP", {"sof", "fixed-function"})

    def _vision(self) -> Iterator[Device]:
        for device in platform_devices(self._tree):
            if re.fullmatch(r"pva\d*", device.role):
                yield self._device(device.name, "NVIDIA programmable vision accelerator", {"pva"})

    def _device(self, address: str, title: str, capabilities: set[str]) -> Device:
        return Device(
            device_id=device_id(DeviceType.DSP, address),
            type=DeviceType.DSP,
            name=title,
            compute_units=1,
            capabilities=frozenset(capabilities),
            found_by=self.name,
        )
