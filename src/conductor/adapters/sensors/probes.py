"""The probes there are: our own, and those that installed packages bring.

A package offers a probe under the entry point group `conductor.probes`; the entry point names a class or function that
is called without arguments and returns a `fleet.ports.DeviceProbe`.

Covered: probes that cannot be loaded (they are named in the log and left out). Not covered: calling any of them.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

import structlog

from conductor.adapters.sensors.amd import AmdProbe
from conductor.adapters.sensors.drm import DrmProbe, JetsonProbe
from conductor.adapters.sensors.dsp import DspProbe
from conductor.adapters.sensors.isp import IspProbe
from conductor.adapters.sensors.npu import NpuProbe
from conductor.adapters.sensors.nvidia import NvidiaProbe
from conductor.adapters.sensors.opencl import OpenClProbe
from conductor.adapters.sensors.processor import ProcessorProbe
from conductor.adapters.sensors.tree import Tree
from conductor.adapters.sensors.video import VideoProbe
from conductor.fleet.ports import DeviceProbe

log = structlog.get_logger(__name__)

GROUP: Final = "conductor.probes"


def own_probes(root: Path = Path("/")) -> list[DeviceProbe]:
    """Our probes over one file tree; the vendors' libraries (NVML, OpenCL) always speak of the machine itself."""
    tree = Tree(root)
    return [
        ProcessorProbe(tree),
        NvidiaProbe(tree),
        AmdProbe(tree),
        DrmProbe(tree),
        JetsonProbe(tree),
        OpenClProbe(),
        VideoProbe(tree),
        IspProbe(tree),
        NpuProbe(tree),
        DspProbe(tree),
    ]


def installed_probes(offered: Iterable[EntryPoint] | None = None) -> list[DeviceProbe]:
    """Probes of other packages, in the order of their names.

    Args:
        offered: entry points to load; those of the group `conductor.probes` unless given.
    """
    found: list[DeviceProbe] = []
    for entry in sorted(entry_points(group=GROUP) if offered is None else offered, key=lambda entry: entry.name):
        try:
            found.append(entry.load()())
        except Exception:
            # A stranger's package may fail in any way while it is imported; the machine is described without it.
            log.warning("fleet.probe_not_loaded", probe=entry.name, exc_info=True)
    return found
