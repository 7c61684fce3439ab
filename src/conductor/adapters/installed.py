"""See what is installed without importing any of it: Python distributions, shared libraries, graphics drivers.

Versions of distributions are what their metadata says. Shared libraries are looked for where the dynamic linker looks. The
NVIDIA driver has two halves, the kernel's module and the library of programs; after an update without a restart they differ,
and nothing works.

Not covered: libraries that a wheel brings along; whether a library that is there can be loaded.
"""

import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from conductor.adapters.sensors.tree import Tree

_USUAL: Final = ("lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib", "usr/lib/wsl/lib")
_NVIDIA: Final = "0x10de"
_AMD: Final = "0x1002"
_DISPLAY: Final = "0x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A kind of graphics card on this machine.

    Args:
        maker: `NVIDIA` or `AMD`.
        module: version of the kernel's module; empty where it is not loaded.
        library: version of the library; empty where there is none, `unknown` where its name does not say.
    """

    maker: str
    module: str
    library: str


def version_of(distribution: str) -> str | None:
    """The installed version; None where there is none. Damaged metadata says nothing and counts as none."""
    try:
        return version(distribution) or None
    except PackageNotFoundError:
        return None


def find_library(soname: str, *, environ: Mapping[str, str], root: Path = Path("/")) -> Path | None:
    """The file of a shared library, `libcuda.so.1`; None where the linker would find none."""
    for folder in _library_folders(environ, root):
        if (folder / soname).exists():
            return folder / soname
    return None


def drivers(*, environ: Mapping[str, str], root: Path = Path("/")) -> list[Driver]:
    """A driver for each maker whose cards are in this machine, working or not."""
    tree = Tree(root)
    makers = {
        tree.text(f"sys/bus/pci/devices/{name}/vendor")
        for name in tree.names("sys/bus/pci/devices")
        if (tree.text(f"sys/bus/pci/devices/{name}/class") or "").startswith(_DISPLAY)
    }
    found = []
    said = re.search(r"Kernel Module[^0-9]*([0-9]+(?:\.[0-9]+)+)", tree.text("proc/driver/nvidia/version") or "")
    if _NVIDIA in makers or said:
        library = find_library("libcuda.so.1", environ=environ, root=root)
        found.append(Driver(maker="NVIDIA", module=said[1] if said else "", library=_version_in(library)))
    if _AMD in makers:
        module = tree.text("sys/module/amdgpu/version") or ("loaded" if tree.exists("sys/module/amdgpu") else "")
        found.append(Driver(maker="AMD", module=module, library=tree.text("opt/rocm/.info/version") or ""))
    return found


def graphics_cards(root: Path = Path("/")) -> int:
    """How many cards of NVIDIA and AMD are in this machine, working or not; those built into a processor count, too."""
    tree = Tree(root)
    devices = [f"sys/bus/pci/devices/{name}" for name in tree.names("sys/bus/pci/devices")]
    shown = [one for one in devices if (tree.text(f"{one}/class") or "").startswith(_DISPLAY)]
    by_bus = sum(tree.text(f"{one}/vendor") in (_NVIDIA, _AMD) for one in shown)
    return max(by_bus, len(tree.names("proc/driver/nvidia/gpus")))


def _library_folders(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    yield from (Path(name) for name in environ.get("LD_LIBRARY_PATH", "").split(":") if name.startswith("/"))
    for file in sorted((root / "etc/ld.so.conf.d").glob("*.conf")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        yield from (root / line.strip().lstrip("/") for line in lines if line.startswith("/"))
    yield from (root / name for name in _with_architecture(_USUAL))


def _with_architecture(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        yield f"{folder}/{platform.machine()}-linux-gnu"
        yield folder


def _version_in(library: Path | None) -> str:
    """`libcuda.so.1` is a link to `libcuda.so.550.54.15`."""
    if library is None:
        return ""
    found = re.search(r"\.so\.([0-9]+(?:\.[0-9]+)+)$", str(library.resolve()))
    return found[1] if found else "unknown"
