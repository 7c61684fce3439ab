"""What the fleet needs from the outside: probes that find devices, and sensors that read a machine."""

from collections.abc import Iterable
from typing import Protocol

from conductor.domain.device import Device
from conductor.domain.node import Node, NodeReading


class DeviceProbe(Protocol):
    """Finds devices through one interface. New probes register under the entry point group `conductor.probes`."""

    name: str

    def find(self) -> Iterable[Device]:
        """Every device this interface shows; empty when the interface is absent. Never raises for absent hardware."""
        ...


class Machine(Protocol):
    """The machine this process runs on."""

    def describe(self) -> Node:
        """Hardware as found now; slow (up to seconds), so call it off the event loop."""
        ...

    def read(self) -> NodeReading:
        """One reading; takes a few milliseconds."""
        ...
