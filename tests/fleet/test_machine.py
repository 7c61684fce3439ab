import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fleet import trees

from conductor.adapters.sensors.amd import AmdProbe
from conductor.adapters.sensors.counters import LinuxCounters, PortableCounters
from conductor.adapters.sensors.drm import JetsonProbe
from conductor.adapters.sensors.gauge import GpuReading
from conductor.adapters.sensors.machine import LocalMachine, architecture
from conductor.adapters.sensors.nvidia import NvidiaProbe
from conductor.adapters.sensors.opencl import OpenClProbe
from conductor.adapters.sensors.probes import own_probes
from conductor.adapters.sensors.tree import Tree
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import NodeId
from conductor.domain.units import GIB
from conductor.fleet.inventory import merge_devices
from conductor.fleet.ports import DeviceProbe, Machine


class HandClock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now_unix_s(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


def machine_at(root: Path, *probes: DeviceProbe, clock: HandClock | None = None) -> LocalMachine:
    return LocalMachine(
        node_id=NodeId("node-1"),
        clock=clock or HandClock(),
        probes=probes,
        unify=merge_devices,
        data_folder=root,
        root=root,
    )


def test_a_board_is_described_by_its_own_tree(tmp_path: Path) -> None:
    trees.raspberry_pi_5(tmp_path).file("proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\n")
    machine: Machine = machine_at(tmp_path, *own_probes(tmp_path)[:1])

    node = machine.describe()

    assert (node.node_id, node.hostname, node.architecture) == ("node-1", "pi5", "arm64")
    assert node.operating_system == "Debian GNU/Linux 12 (bookworm), Linux 6.12.8"
    assert (node.logical_cores, node.memory_bytes) == (4, 8 * GIB)
    assert [device.type for device in node.devices] == [DeviceType.CPU]
    assert [disk.mount_point for disk in node.disks] == ["/"]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", "x86_64"),
        ("AMD64", "x86_64"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("LoongArch64", "loongarch64"),
    ],
)
def test_architectures_have_one_name_each(machine: str, expected: str) -> None:
    assert architecture(machine) == expected


def test_a_container_has_the_memory_and_cores_of_its_group(tmp_path: Path) -> None:
    trees.container(tmp_path)
    machine = machine_at(tmp_path)

    assert (machine.describe().logical_cores, machine.describe().memory_bytes) == (2, 4 * GIB)
    assert machine.read().free_memory_bytes == 2 * GIB  # 4 allowed, 3 used, 1 of it cache that can be given back


def test_the_least_limit_of_nested_version_1_groups_counts(tmp_path: Path) -> None:
    tree = trees.container(tmp_path)
    tree.file("proc/self/cgroup", "4:memory:/outer/inner\n1:cpu,cpuacct:/outer\n0::/\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    memory = "sys/fs/cgroup/memory"
    tree.file(f"{memory}/memory.limit_in_bytes", "9223372036854771712\n")
    tree.file(f"{memory}/outer/memory.limit_in_bytes", f"{2 * GIB}\n")
    tree.file(f"{memory}/outer/memory.usage_in_bytes", f"{GIB}\n")
    tree.file(f"{memory}/outer/inner/memory.limit_in_bytes", f"{6 * GIB}\n")
    tree.file("sys/fs/cgroup/cpu/outer/cpu.cfs_quota_us", "-1\n")
    tree.file("sys/fs/cgroup/cpu/outer/cpu.cfs_period_us", "100000\n")

    machine = machine_at(tmp_path)

    assert (machine.describe().logical_cores, machine.describe().memory_bytes) == (8, 2 * GIB)
    assert machine.read().free_memory_bytes == GIB


def test_affinity_counts_only_cores_that_are_online(tmp_path: Path) -> None:
    tree = trees.laptop(tmp_path)
    tree.file("proc/self/status", "Cpus_allowed_list:\t0-1,6,40-43\n")

    assert machine_at(tmp_path).describe().logical_cores == 3


def test_a_reading_gives_rates_since_the_last_one(tmp_path: Path) -> None:
    clock = HandClock()
    tree = trees.laptop(tmp_path)
    machine = machine_at(tmp_path, clock=clock)
    tree.file("proc/stat", "cpu  1300 0 600 8550 550 0 0 0 0 0\n")  # 400 of 1,000 ticks busy
    tree.network(lo=(9_000_000, 9_000_000), eth0=(5000, 2500))
    clock.now_s += 2.0

    reading = machine.read()

    assert reading.cpu_utilisation == pytest.approx(0.4)
    assert reading.network_bytes_per_s == pytest.approx(3000.0)
    assert reading.taken_at_unix_s == clock.now_unix_s()
    assert reading.load_average_1m == 0.75
    assert reading.free_memory_bytes == 16 * GIB
    assert reading.free_disk_bytes > 0


def test_a_second_reading_at_the_same_instant_repeats_the_rates(tmp_path: Path) -> None:
    clock = HandClock()
    tree = trees.laptop(tmp_path)
    machine = machine_at(tmp_path, clock=clock)
    tree.file("proc/stat", "cpu  2000 0 500 8000 500 0 0 0 0 0\n")
    clock.now_s += 1.0

    assert [machine.read().cpu_utilisation for _ in range(2)] == [1.0, 1.0]


def test_counters_that_run_backwards_give_no_negative_rate(tmp_path: Path) -> None:
    clock = HandClock()
    tree = trees.laptop(tmp_path)
    machine = machine_at(tmp_path, clock=clock)
    tree.network(eth0=(0, 0))
    tree.file("proc/stat", "cpu  1 0 1 9 0 0 0 0 0 0\n")
    clock.now_s += 1.0

    reading = machine.read()

    assert (reading.network_bytes_per_s, reading.cpu_utilisation) == (0.0, 0.0)


def test_bridges_are_not_counted_beside_the_card_that_carries_them(tmp_path: Path) -> None:
    tree = trees.laptop(tmp_path)
    tree.network(lo=(7, 7), eth0=(100, 10), docker0=(100, 10))

    assert LinuxCounters(Tree(tmp_path)).network_bytes() == 220
    tree.file("sys/class/net/eth0/device/vendor", "0x8086\n")
    assert LinuxCounters(Tree(tmp_path)).network_bytes() == 110


@pytest.mark.parametrize(
    ("build", "cpu", "gpu"),
    [
        (trees.laptop, 62.0, None),
        (trees.raspberry_pi_4, 48.212, None),
        (trees.rk3588, 58.0, 47.0),
        (trees.rocm_desktop, 71.5, 66.0),
        (trees.jetson_orin, 45.0, 43.5),
        (trees.container, None, None),
    ],
)
def test_the_processor_and_the_gpu_have_the_temperature_of_their_own_zones(
    tmp_path: Path, build: Callable[[Path], trees.Recording], cpu: float | None, gpu: float | None
) -> None:
    build(tmp_path)

    reading = machine_at(tmp_path).read()

    assert (reading.cpu_temperature_celsius, reading.gpu_temperature_celsius) == (cpu, gpu)


def test_every_zone_is_read_by_name_and_none_twice(tmp_path: Path) -> None:
    tree = trees.raspberry_pi_4(tmp_path)
    tree.zone(1, "cpu-thermal", 49000)

    assert machine_at(tmp_path).read().zone_temperatures_celsius == {"cpu-thermal": 48.212, "cpu-thermal#2": 49.0}


def test_sensors_that_answer_nonsense_are_left_out(tmp_path: Path) -> None:
    tree = trees.Recording(tmp_path)
    for number, text in enumerate(["-274000", "0", "garbage", "", "999999999"]):
        tree.file(f"sys/class/thermal/thermal_zone{number}/type", f"zone{number}\n")
        tree.file(f"sys/class/thermal/thermal_zone{number}/temp", text)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").unlink()

    assert machine_at(tmp_path).read().zone_temperatures_celsius == {}


def test_an_amd_card_is_read_while_awake_and_left_alone_while_asleep(tmp_path: Path) -> None:
    tree = trees.rocm_desktop(tmp_path)
    machine = machine_at(tmp_path, AmdProbe(Tree(tmp_path)))

    awake = machine.read()
    tree.file("sys/devices/pci0000:00/0000:03:00.0/power/runtime_status", "suspended\n")
    asleep = machine.read()

    assert (awake.gpu_utilisation, awake.free_vram_bytes) == (0.37, 20 * GIB)
    assert (asleep.gpu_utilisation, asleep.free_vram_bytes, asleep.gpu_temperature_celsius) == (None, None, None)


def test_a_jetson_gives_its_load(tmp_path: Path) -> None:
    trees.jetson_orin(tmp_path)

    assert machine_at(tmp_path, JetsonProbe(Tree(tmp_path))).read().gpu_utilisation == pytest.approx(0.412)


def test_a_probe_that_fails_costs_no_other_device(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        def find(self) -> Iterator[Device]:
            raise RuntimeError("the vendor's library is not what it seems")

    trees.laptop(tmp_path)
    machine = machine_at(tmp_path, Broken(), *own_probes(tmp_path)[:1])

    assert [device.type for device in machine.describe().devices] == [DeviceType.CPU]


def test_a_gauge_that_fails_costs_no_reading_and_is_asked_again_after_the_next_description(tmp_path: Path) -> None:
    class Moody(JetsonProbe):
        asked = 0

        def measure(self) -> list[GpuReading]:
            self.asked += 1
            raise OSError("bus error")

    trees.jetson_orin(tmp_path)
    moody = Moody(Tree(tmp_path))
    machine = machine_at(tmp_path, moody)

    assert [machine.read().gpu_utilisation for _ in range(3)] == [None] * 3
    assert moody.asked == 1
    machine.describe()
    machine.read()
    assert moody.asked == 2


def test_disks_are_file_systems_for_work_listed_once(tmp_path: Path) -> None:
    tree = trees.laptop(tmp_path)
    (tmp_path / "srv/my data").mkdir(parents=True)
    (tmp_path / "boot/efi").mkdir(parents=True)
    tree.file("etc/hosts")
    tree.file(
        "proc/mounts",
        "proc /proc proc rw 0 0\n/dev/nvme0n1p2 / ext4 rw 0 0\n/dev/nvme0n1p1 /boot/efi ext4 rw 0 0\n"
        "/dev/sda1 /srv/my\\040data btrfs rw 0 0\n/dev/sda1 /srv btrfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n"
        "/dev/loop0 /snap/core squashfs ro 0 0\n/dev/sdb1 /gone xfs rw 0 0\n",
    )

    assert [disk.mount_point for disk in machine_at(tmp_path).describe().disks] == ["/", "/srv/my data"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=40), data=st.data())
def test_no_content_of_any_file_makes_describing_or_reading_fail(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("tree")
    build = data.draw(st.sampled_from([trees.laptop, trees.rocm_desktop, trees.jetson_orin, trees.container]))
    build(root)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for path in data.draw(st.lists(st.sampled_from(files), unique=True, max_size=len(files))):
        path.write_bytes(garbage)
    probes = [probe for probe in own_probes(root) if not isinstance(probe, NvidiaProbe | OpenClProbe)]
    machine = machine_at(root, *probes)

    node, reading = machine.describe(), machine.read()

    assert node.logical_cores >= 1
    assert DeviceType.CPU in node.device_types()
    assert 0.0 <= reading.cpu_utilisation <= 1.0
    assert reading.free_memory_bytes >= 0


def test_this_very_machine_agrees_with_psutil() -> None:
    kernel, portable = LinuxCounters(Tree()), PortableCounters()
    if not Tree().exists("proc/stat"):
        pytest.skip("no /proc here")

    assert kernel.memory_bytes()[0] == portable.memory_bytes()[0]
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert kernel.processor_time().total == pytest.approx(portable.processor_time().total * ticks_per_s, rel=0.01)


def test_this_very_machine_can_be_described_and_read() -> None:
    machine = LocalMachine(
        node_id=NodeId("here"),
        clock=HandClock(),
        probes=own_probes(),
        unify=merge_devices,
        data_folder=Path.cwd(),
    )

    node, reading = machine.describe(), machine.read()

    assert node.logical_cores >= 1
    assert node.memory_bytes >= reading.free_memory_bytes > 0
    assert len({device.device_id for device in node.devices}) == len(node.devices)
    assert sum(device.type is DeviceType.CPU for device in node.devices) == 1
