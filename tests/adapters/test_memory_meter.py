"""What is free on this machine and on cards; the driver is a stand-in, this machine has none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from conductor.adapters.memory_meter import MachineMemory
from conductor.adapters.sensors.tree import Tree


class DriverError(Exception):
    pass


class Driver:
    """The five functions of pynvml that are used, over cards with so many bytes free; None does not answer."""

    NVMLError = DriverError

    def __init__(self, *free_bytes: int | None, is_there: bool = True) -> None:
        self._free_bytes, self._is_there = free_bytes, is_there

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._is_there:
            raise DriverError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._free_bytes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        free = self._free_bytes[handle]
        if free is None:
            raise DriverError
        return SimpleNamespace(free=free)


def opened(driver: Driver) -> MachineMemory:
    meter = MachineMemory(on_cards=["transformers"], load=lambda: driver)
    meter.open()
    return meter


@pytest.mark.anyio
async def test_without_a_driver_models_go_into_the_machines_memory() -> None:
    meter = opened(Driver(is_there=False))

    assert meter.devices("transformers") == ("cpu",)
    assert set(await meter.free_bytes()) == {"cpu"}
    assert 0 < (await meter.free_bytes())["cpu"] <= psutil.virtual_memory().total


@pytest.mark.anyio
async def test_cards_are_for_the_backends_that_use_them_and_a_silent_one_has_nothing_free() -> None:
    meter = opened(Driver(5_000, None))

    assert meter.devices("transformers") == ("cuda:0", "cuda:1")
    assert meter.devices("llama.cpp") == ("cpu",)
    free = dict(await meter.free_bytes())
    assert free.pop("cpu") > 0
    assert free == {"cuda:0": 5_000, "cuda:1": 0}


@pytest.mark.anyio
async def test_a_container_that_allows_less_has_less(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("400000\n")

    free = await MachineMemory(Tree(tmp_path), on_cards=[]).free_bytes()

    assert free == {"cpu": 600_000}
