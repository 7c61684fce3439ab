"""What is free on this machine and on cards; the driver is a stand-in, this machine has none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from conductor.adapters.memory_meter import MachineMemory, cards_of_torch
from conductor.adapters.sensors.tree import Tree


class DriverError(Exception):
    pass


class Driver:
    """The six functions of pynvml that are used, over cards with so many bytes free; None does not answer."""

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

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}{handle}{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        free = self._free_bytes[handle]
        if free is None:
            raise DriverError
        return SimpleNamespace(free=free)


def opened(driver: Driver, **how: Any) -> MachineMemory:
    meter = MachineMemory(on_cards=["transformers"], load=lambda: driver, **how)
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


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, ("cuda:0", "cuda:1", "cuda:2")),
        ("2,0", ("cuda:0", "cuda:2")),
        ("GPU-11", ("cuda:1",)),
        ("1,7,0", ("cuda:1",)),
        ("", ("cpu",)),
        ("-1", ("cpu",)),
    ],
)
def test_cards_that_the_server_may_not_see_are_not_there(visible: str | None, seen: tuple[str, ...]) -> None:
    assert opened(Driver(1, 2, 3), visible=visible).devices("transformers") == seen


@pytest.mark.anyio
async def test_cards_of_amd_are_measured_by_the_kernel(tmp_path: Path) -> None:
    for node, (units, minor) in enumerate([(0, 0), (304, 129), (304, 128)]):
        place = tmp_path / f"sys/class/kfd/kfd/topology/nodes/{node}"
        place.mkdir(parents=True)
        (place / "properties").write_text(f"simd_count {units}\ndrm_render_minor {minor}\n")
    for minor, used in ((128, "1000"), (129, "250")):
        card = tmp_path / f"sys/class/drm/renderD{minor}/device"
        card.mkdir(parents=True)
        (card / "mem_info_vram_total").write_text("4000\n")
        (card / "mem_info_vram_used").write_text(used)
    meter = MachineMemory(Tree(tmp_path), on_cards=["transformers"], cards="rocm")
    meter.open()

    assert meter.devices("transformers") == ("cuda:0", "cuda:1")
    free = dict(await meter.free_bytes())
    assert (free["cuda:0"], free["cuda:1"]) == (3_750, 3_000)


def test_a_torch_without_cards_has_none(tmp_path: Path) -> None:
    assert [cards_of_torch(each) for each in ("2.13.0+cpu", "2.13.0+rocm7.0", "2.13.0+cu130", "2.13.0", None)] == [
        "", "rocm", "cuda", "cuda", "cuda",
    ]  # fmt: skip
    assert opened(Driver(5_000), cards=cards_of_torch("2.13.0+cpu")).devices("transformers") == ("cpu",)
