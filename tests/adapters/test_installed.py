"""What is found to be installed, on trees that look like other machines."""

from importlib.metadata import version
from pathlib import Path

from conductor.adapters.installed import Driver, drivers, find_library, version_of


def write(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def a_card(root: Path, vendor: str, kind: str = "0x030000") -> None:
    write(root, f"sys/bus/pci/devices/0000:01:00.{vendor[-1]}/vendor", f"{vendor}\n")
    write(root, f"sys/bus/pci/devices/0000:01:00.{vendor[-1]}/class", f"{kind}\n")


def a_library(root: Path, folder: str, number: str) -> Path:
    real = write(root, f"{folder}/libcuda.so.{number}")
    link = real.with_name("libcuda.so.1")
    link.symlink_to(real.name)
    return link


def test_versions_are_those_of_the_metadata_and_nothing_is_imported() -> None:
    assert version_of("pytest") == version("pytest")
    assert version_of("there-is-no-such-distribution") is None


def test_a_library_is_looked_for_where_the_linker_looks(tmp_path: Path) -> None:
    assert find_library("libcuda.so.1", environ={}, root=tmp_path) is None
    listed = a_library(tmp_path, "opt/driver/lib", "1.2")
    write(tmp_path, "etc/ld.so.conf.d/driver.conf", "# comment\n/opt/driver/lib\n")
    assert find_library("libcuda.so.1", environ={}, root=tmp_path) == listed

    named = a_library(tmp_path, "named", "1.2")
    assert find_library("libcuda.so.1", environ={"LD_LIBRARY_PATH": f"relative:{named.parent}"}, root=tmp_path) == named


def test_a_machine_without_graphics_cards_has_no_drivers_to_speak_of(tmp_path: Path) -> None:
    a_card(tmp_path, "0x10de", kind="0x020000")

    assert drivers(environ={}, root=tmp_path) == []


def test_both_halves_of_a_driver_are_told(tmp_path: Path) -> None:
    a_card(tmp_path, "0x10de")
    a_card(tmp_path, "0x1002")
    assert drivers(environ={}, root=tmp_path) == [
        Driver(maker="NVIDIA", module="", library=""),
        Driver(maker="AMD", module="", library=""),
    ]

    write(
        tmp_path,
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Kernel Module  550.54.15  Tue\nGCC version:  12",
    )
    a_library(tmp_path, "usr/lib64", "550.90.07")
    write(tmp_path, "sys/module/amdgpu/initstate", "live")
    write(tmp_path, "opt/rocm/.info/version", "6.2.0\n")
    assert drivers(environ={}, root=tmp_path) == [
        Driver(maker="NVIDIA", module="550.54.15", library="550.90.07"),
        Driver(maker="AMD", module="loaded", library="6.2.0"),
    ]
