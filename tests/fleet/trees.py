"""File trees of machines as their kernels show them, written small: what our probes read and a little around it."""

import os
from pathlib import Path

from conductor.domain.units import GIB, KIB

PROC_STAT = "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1000 0 500 8000 500 0 0 0 0 0\n"
NET_HEADER = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"


class Recording:
    """A tree under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str, text: str = "") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def link(self, name: str, target: str) -> None:
        """`name` → `target`, both seen from the root, written as the relative link that sysfs has."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.root / target).mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(self.root / target, path.parent))

    def pci(self, address: str, *, driver: str, vendor: int, device: int) -> str:
        folder = f"sys/devices/pci0000:00/{address}"
        self.file(f"{folder}/vendor", f"0x{vendor:04x}\n")
        self.file(f"{folder}/device", f"0x{device:04x}\n")
        self.link(f"{folder}/driver", f"sys/bus/pci/drivers/{driver}")
        self.link(f"sys/bus/pci/drivers/{driver}/{address}", folder)
        self.link(f"sys/bus/pci/devices/{address}", folder)
        return folder

    def platform(self, name: str, *, driver: str = "") -> str:
        folder = f"sys/devices/platform/{name}"
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.link(f"sys/bus/platform/devices/{name}", folder)
        if driver:
            self.link(f"{folder}/driver", f"sys/bus/platform/drivers/{driver}")
        return folder

    def drm(self, folder: str, *, card: int = 0) -> None:
        for node in (f"card{card}", f"renderD{128 + card}"):
            self.link(f"sys/class/drm/{node}/device", folder)

    def v4l2(self, *names: str) -> None:
        for number, name in enumerate(names):
            self.file(f"sys/class/video4linux/video{number}/name", name + "\n")

    def zone(self, number: int, kind: str, millidegrees: int) -> None:
        self.file(f"sys/class/thermal/thermal_zone{number}/type", kind + "\n")
        self.file(f"sys/class/thermal/thermal_zone{number}/temp", f"{millidegrees}\n")

    def monitor(self, number: int, chip: str, *channels: tuple[str, int]) -> str:
        folder = f"sys/class/hwmon/hwmon{number}"
        self.file(f"{folder}/name", chip + "\n")
        for channel, (label, millidegrees) in enumerate(channels, start=1):
            self.file(f"{folder}/temp{channel}_input", f"{millidegrees}\n")
            if label:
                self.file(f"{folder}/temp{channel}_label", label + "\n")
        return folder

    def base(self, *, hostname: str, arch: str, cores: int, memory_gib: int, cpuinfo: str) -> None:
        self.file("proc/sys/kernel/hostname", hostname + "\n")
        self.file("proc/sys/kernel/arch", arch + "\n")
        self.file("proc/sys/kernel/osrelease", "6.12.8\n")
        self.file("etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
        self.file("proc/cpuinfo", cpuinfo)
        self.file("proc/self/status", f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t0-{cores - 1}\n")
        self.file("proc/self/cgroup", "0::/\n")
        self.file("sys/devices/system/cpu/online", f"0-{cores - 1}\n")
        total = memory_gib * GIB // KIB
        self.file("proc/meminfo", f"MemTotal: {total} kB\nMemFree: 1024 kB\nMemAvailable: {total // 2} kB\n")
        self.file("proc/stat", PROC_STAT)
        self.file("proc/loadavg", "0.75 0.50 0.25 1/200 4242\n")
        self.network(eth0=(1000, 500))

    def network(self, **interfaces: tuple[int, int]) -> None:
        lines = [
            f"{name}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n" for name, (received, sent) in interfaces.items()
        ]
        self.file("proc/net/dev", NET_HEADER + "".join(lines))


def arm_cpuinfo(*parts: str, features: str = "fp asimd asimdhp asimddp aes") -> str:
    return "".join(
        f"processor\t: {i}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"
        for i, part in enumerate(parts)
    )


def laptop(root: Path) -> Recording:
    """A laptop with Intel's GPU, NPU, camera unit and sound DSP."""
    tree = Recording(root)
    cpuinfo = (
        "processor\t: 0\nmodel name\t: Intel(R) Core(TM)  Ultra 7 155H\nflags\t\t: sse4_2 avx avx2 fma avx_vnni\n\n"
    )
    tree.base(hostname="laptop", arch="x86_64", cores=8, memory_gib=32, cpuinfo=cpuinfo)
    tree.drm(tree.pci("0000:00:02.0", driver="i915", vendor=0x8086, device=0x7D55))
    tree.file("usr/lib/x86_64-linux-gnu/dri/iHD_drv_video.so")
    tree.file(
        "usr/share/misc/pci.ids",
        "# comment\n1002  AMD\n\t7d55  wrong vendor\n8086  Intel Corporation\n"
        "\t7d54  another\n\t7d55  Meteor Lake-P [Intel Arc Graphics]\n\t\t1234 5678  a board\n8087  Other\n",
    )
    tree.link(
        "sys/class/accel/accel0/device", tree.pci("0000:00:0b.0", driver="intel_vpu", vendor=0x8086, device=0x7D1D)
    )
    tree.pci("0000:00:05.0", driver="intel-ipu6", vendor=0x8086, device=0x7D19)
    tree.pci("0000:00:1f.3", driver="sof-audio-pci-intel-mtl", vendor=0x8086, device=0x7E28)
    tree.v4l2("Integrated Camera: Integrated C")
    tree.zone(0, "acpitz", 27800)
    tree.zone(1, "x86_pkg_temp", 61000)
    tree.monitor(0, "coretemp", ("Package id 0", 62000), ("Core 0", 60000))
    tree.monitor(1, "nvme", ("Composite", 40850))
    return tree


def raspberry_pi_4(root: Path) -> Recording:
    tree = Recording(root)
    tree.base(
        hostname="pi4", arch="aarch64", cores=4, memory_gib=4, cpuinfo=arm_cpuinfo(*["0xd08"] * 4, features="fp asimd")
    )
    tree.file("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.5\0")
    tree.drm(tree.platform("fec00000.gpu", driver="v3d"))
    tree.v4l2(
        "rpivid",
        "bcm2835-codec-decode",
        "bcm2835-codec-encode",
        "bcm2835-codec-isp",
        "bcm2835-codec-image_fx",
        "bcm2835-isp-output0",
        "unicam-image",
    )
    tree.zone(0, "cpu-thermal", 48212)
    tree.link(tree.monitor(0, "cpu_thermal", ("", 48212)) + "/device", "sys/class/thermal/thermal_zone0")
    return tree


def raspberry_pi_5(root: Path) -> Recording:
    tree = Recording(root)
    tree.base(hostname="pi5", arch="aarch64", cores=4, memory_gib=8, cpuinfo=arm_cpuinfo(*["0xd0b"] * 4))
    tree.file("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    tree.drm(tree.platform("1002000000.v3d", driver="v3d"))
    tree.v4l2("rpi-hevc-dec", "pispbe-input", "pispbe-output0", "rp1-cfe-csi2_ch0")
    tree.file("sys/class/hailo_chardev/hailo0/board_location", "0001:01:00.0\n")
    tree.zone(0, "cpu-thermal", 55000)
    return tree


def rk3588(root: Path) -> Recording:
    """A Rockchip board under its vendor's kernel; one NPU of the device tree has no driver."""
    tree = Recording(root)
    cpuinfo = arm_cpuinfo(*["0xd05"] * 4, *["0xd0b"] * 4)
    tree.base(hostname="rock", arch="aarch64", cores=8, memory_gib=16, cpuinfo=cpuinfo)
    tree.file("proc/device-tree/model", "Radxa ROCK 5B\0")
    tree.drm(tree.platform("fb000000.gpu-panthor", driver="panthor"), card=0)
    tree.drm(tree.platform("fdab0000.npu", driver="RKNPU"), card=1)
    tree.platform("fdac0000.npu")
    tree.platform("fdbd0000.rkvenc-core", driver="mpp_rkvenc2")
    tree.platform("fdc38100.rkvdec-core", driver="mpp_rkvdec2")
    tree.platform("fdb90000.jpegd", driver="mpp_jpgdec")
    tree.v4l2("stream_cif_mipi_id0", "rkisp_mainpath", "rkisp_selfpath")
    for number, (kind, millidegrees) in enumerate(
        [("soc-thermal", 50000), ("bigcore0-thermal", 58000), ("littlecore-thermal", 51000), ("gpu-thermal", 47000)]
    ):
        tree.zone(number, kind, millidegrees)
    return tree


def rocm_desktop(root: Path) -> Recording:
    tree = Recording(root)
    cpuinfo = "processor\t: 0\nmodel name\t: AMD Ryzen 9 7950X\nflags\t\t: avx2 avx512f avx512_vnni\n"
    tree.base(hostname="desk", arch="x86_64", cores=16, memory_gib=64, cpuinfo=cpuinfo)
    card = tree.pci("0000:03:00.0", driver="amdgpu", vendor=0x1002, device=0x744C)
    tree.drm(card)
    tree.file(f"{card}/mem_info_vram_total", f"{24 * GIB}\n")
    tree.file(f"{card}/mem_info_vram_used", f"{4 * GIB}\n")
    tree.file(f"{card}/gpu_busy_percent", "37\n")
    tree.file(f"{card}/power/runtime_status", "active\n")
    nodes = "sys/class/kfd/kfd/topology/nodes"
    tree.file(f"{nodes}/0/properties", "cpu_cores_count 32\nsimd_count 0\nvendor_id 0\n")
    tree.file(
        f"{nodes}/1/properties",
        f"cpu_cores_count 0\nsimd_count 192\nsimd_per_cu 2\nvendor_id {0x1002}\ndevice_id {0x744C}\n"
        f"location_id {3 << 8}\ndomain 0\ngfx_target_version 110000\n",
    )
    tree.file(f"{nodes}/1/mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {24 * GIB}\n")
    tree.monitor(0, "k10temp", ("Tctl", 71500), ("Tccd1", 60000))
    hot = tree.monitor(1, "amdgpu", ("edge", 66000), ("junction", 91000))
    tree.link(f"{hot}/device", card)
    return tree


def jetson_orin(root: Path) -> Recording:
    tree = Recording(root)
    tree.base(hostname="orin", arch="aarch64", cores=8, memory_gib=16, cpuinfo=arm_cpuinfo(*["0xd42"] * 8))
    tree.file("proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    gpu = tree.platform("17000000.gpu", driver="nvgpu")
    tree.file(f"{gpu}/load", "412\n")
    tree.platform("154c0000.nvenc", driver="tegra-nvenc")
    tree.platform("15480000.nvdec", driver="tegra-nvdec")
    tree.platform("14800000.isp", driver="tegra-isp")
    tree.platform("15880000.nvdla0", driver="nvdla")
    tree.platform("16000000.pva0", driver="pva")
    tree.zone(0, "cpu-thermal", 45000)
    tree.zone(1, "gpu-thermal", 43500)
    tree.zone(2, "cv0-thermal", -256000)
    return tree


def container(root: Path) -> Recording:
    """Two of eight cores and 4 of 32 GiB, no `/sys` but the control group."""
    tree = Recording(root)
    cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: avx2\n"
    tree.base(hostname="c0ffee", arch="x86_64", cores=8, memory_gib=32, cpuinfo=cpuinfo)
    tree.file("sys/fs/cgroup/cpu.max", "150000 100000\n")
    tree.file("sys/fs/cgroup/memory.max", f"{4 * GIB}\n")
    tree.file("sys/fs/cgroup/memory.current", f"{3 * GIB}\n")
    tree.file("sys/fs/cgroup/memory.stat", f"anon {GIB}\ninactive_file {GIB}\n")
    return tree
