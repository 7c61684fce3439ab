from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.fleet import trees

from conductor.adapters.sensors.nvidia import NvidiaProbe
from conductor.adapters.sensors.opencl import OpenClProbe
from conductor.adapters.sensors.probes import installed_probes, own_probes
from conductor.domain.device import Device, DeviceType
from conductor.domain.units import GIB
from conductor.fleet.inventory import merge_devices
from conductor.fleet.ports import DeviceProbe

CORAL = {"Vendor": "18d1", "Product": "9302"}


def found_on(root: Path) -> tuple[Device, ...]:
    """What the file tree shows; the libraries of the machine the tests run on are left out."""
    probes = [probe for probe in own_probes(root) if not isinstance(probe, NvidiaProbe | OpenClProbe)]
    return merge_devices(device for probe in probes for device in probe.find())


def summary(devices: Iterable[Device]) -> list[tuple[str, str, int, set[str]]]:
    return [(d.device_id, d.name, d.compute_units, set(d.capabilities)) for d in devices]


def test_a_laptop_shows_gpu_npu_video_camera_and_sound_processors(tmp_path: Path) -> None:
    trees.laptop(tmp_path)

    assert summary(found_on(tmp_path)) == [
        ("gpu:0000:00:02.0", "Intel Meteor Lake-P [Intel Arc Graphics]", 1, {"drm", "driver:i915"}),
        ("npu:0000:00:0b.0", "Intel NPU", 1, {"intel_vpu"}),
        ("video:0000:00:02.0", "Intel Quick Sync", 1, {"qsv", "vaapi", "encode", "decode"}),
        ("isp:0000:00:05.0", "Intel IPU6", 1, {"intel-ipu6"}),
        ("dsp:0000:00:1f.3", "Sound DSP", 1, {"sof", "fixed-function"}),
        ("cpu:0", "Intel(R) Core(TM) Ultra 7 155H", 8, {"sse4.2", "avx", "avx2", "fma", "avx-vnni"}),
    ]


def test_a_raspberry_pi_4_shows_its_codec_and_its_isp_once_each(tmp_path: Path) -> None:
    trees.raspberry_pi_4(tmp_path)

    assert summary(found_on(tmp_path)) == [
        ("gpu:fec00000.gpu", "Broadcom VideoCore GPU", 1, {"drm", "driver:v3d"}),
        ("video:bcm2835-codec", "Broadcom VideoCore codec", 1, {"v4l2", "encode", "decode"}),
        ("video:rpi-hevc-dec", "Raspberry Pi HEVC decoder", 1, {"v4l2", "decode"}),
        ("isp:bcm2835-isp", "Broadcom VideoCore ISP", 1, {"bcm2835-isp"}),
        ("cpu:0", "Raspberry Pi 4 Model B Rev 1.5 (Cortex-A72)", 4, {"neon"}),
    ]


def test_a_raspberry_pi_5_decodes_but_does_not_encode_and_carries_a_hailo(tmp_path: Path) -> None:
    trees.raspberry_pi_5(tmp_path)

    assert summary(found_on(tmp_path)) == [
        ("gpu:1002000000.v3d", "Broadcom VideoCore GPU", 1, {"drm", "driver:v3d"}),
        ("npu:0001:01:00.0", "Hailo", 1, {"hailo"}),
        ("video:rpi-hevc-dec", "Raspberry Pi HEVC decoder", 1, {"v4l2", "decode"}),
        ("isp:pispbe", "Raspberry Pi PiSP back end", 1, {"pispbe"}),
        ("cpu:0", "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)", 4, {"neon", "fp16", "dotprod", "aes"}),
    ]


def test_an_rk3588_shows_the_npu_that_has_a_driver_and_does_not_take_it_for_a_gpu(tmp_path: Path) -> None:
    trees.rk3588(tmp_path)

    assert summary(found_on(tmp_path)) == [
        ("gpu:fb000000.gpu-panthor", "Arm Mali GPU", 1, {"drm", "driver:panthor"}),
        ("npu:fdab0000.npu", "Rockchip NPU", 1, {"rknpu"}),
        ("video:rockchip-mpp", "Rockchip video engine", 1, {"rockchip-mpp", "encode", "decode"}),
        ("isp:rkisp", "Rockchip ISP", 1, {"rkisp"}),
        ("cpu:0", "Radxa ROCK 5B (Cortex-A55 + Cortex-A76)", 8, {"neon", "fp16", "dotprod", "aes"}),
    ]


def test_a_rocm_card_is_one_gpu_with_its_compute_units_and_memory(tmp_path: Path) -> None:
    trees.rocm_desktop(tmp_path)

    gpu, video, cpu = found_on(tmp_path)

    assert gpu == Device(
        device_id="gpu:0000:03:00.0",
        type=DeviceType.GPU,
        name="AMD GPU 0x744c",
        compute_units=96,
        memory_bytes=24 * GIB,
        capabilities=frozenset({"rocm", "gfx1100", "drm", "driver:amdgpu"}),
        found_by="kfd + drm",
    )
    assert (video.name, set(video.capabilities)) == ("AMD video engine", {"vcn", "encode", "decode"})
    assert set(cpu.capabilities) == {"avx2", "avx512", "avx512-vnni"}


def test_a_jetson_shows_its_engines_without_any_nvidia_library(tmp_path: Path) -> None:
    trees.jetson_orin(tmp_path)

    assert summary(found_on(tmp_path)) == [
        ("gpu:17000000.gpu", "NVIDIA Tegra GPU", 1, {"cuda"}),
        ("npu:15880000.nvdla0", "NVIDIA deep learning accelerator", 1, {"nvdla"}),
        ("video:nvenc", "NVIDIA Tegra video engine", 1, {"nvenc", "encode", "decode"}),
        ("isp:14800000.isp", "NVIDIA Tegra ISP", 1, {"tegra-isp"}),
        ("dsp:16000000.pva0", "NVIDIA programmable vision accelerator", 1, {"pva"}),
        ("cpu:0", "NVIDIA Jetson AGX Orin Developer Kit (Cortex-A78AE)", 8, {"neon", "fp16", "dotprod", "aes"}),
    ]


def test_a_container_shows_the_processor_it_may_use_and_nothing_else(tmp_path: Path) -> None:
    trees.container(tmp_path)

    assert summary(found_on(tmp_path)) == [("cpu:0", "AMD EPYC", 2, {"avx2"})]


def test_an_empty_tree_still_has_a_processor(tmp_path: Path) -> None:
    (processor,) = found_on(tmp_path)

    assert processor.type is DeviceType.CPU
    assert processor.compute_units >= 1


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda t: t.file("dev/fastrpc-cdsp"), {("npu:cdsp", "Qualcomm Hexagon (compute)")}),
        (lambda t: t.file("dev/fastrpc-adsp"), {("dsp:adsp", "Qualcomm Hexagon (audio)")}),
        (lambda t: t.file("sys/class/apex/apex_0/dev"), {("npu:apex_0", "Google Coral Edge TPU")}),
        (
            lambda t: [t.file(f"sys/bus/usb/devices/1-2/id{k}", v) for k, v in CORAL.items()],
            {("npu:usb.1-2", "Google Coral Edge TPU (USB)")},
        ),
        (lambda t: t.file("sys/class/remoteproc/remoteproc0/name", "64800000.dsp\n"), {("dsp:64800000.dsp", "DSP")}),
        (lambda t: t.file("sys/class/remoteproc/remoteproc0/name", "modem\n"), set()),
        (lambda t: t.file("sys/class/remoteproc/remoteproc0/name", "5c00000.r5f\n"), set()),
        (lambda t: t.platform("38500000.vipsi", driver="galcore"), {("npu:38500000.vipsi", "Vivante NPU")}),
        (lambda t: t.platform("38000000.gpu3d", driver="galcore"), set()),
        (lambda t: t.drm(t.pci("0000:00:01.0", driver="virtio-pci", vendor=0x1AF4, device=0x1050)), set()),
        (lambda t: t.v4l2("rockchip,rk3399-vpu-enc"), {("video:rockchip-vpu", "Rockchip video engine")}),
        (lambda t: t.v4l2("qcom-venus-decoder", "msm_vfe0_rdi0"), {
            ("video:venus", "Qualcomm video engine"), ("isp:qcom-camss", "Qualcomm camera subsystem"),
        }),
        (lambda t: t.v4l2("HD Webcam C920: encoder"), set()),
    ],
)  # fmt: skip
def test_single_parts_are_told_apart(
    tmp_path: Path, build: Callable[[trees.Recording], object], expected: set[tuple[str, str]]
) -> None:
    build(trees.Recording(tmp_path))

    others = {(d.device_id, d.name) for d in found_on(tmp_path) if d.type is not DeviceType.CPU}

    assert others == expected


def test_an_installed_package_brings_its_probe_and_a_broken_one_is_left_out() -> None:
    offered = [
        EntryPoint("zz", "conductor.adapters.sensors.opencl:OpenClProbe", "conductor.probes"),
        EntryPoint("aa", "no_such_package.at_all:Probe", "conductor.probes"),
    ]

    probes: list[DeviceProbe] = installed_probes(offered)

    assert [type(probe) for probe in probes] == [OpenClProbe]
