from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.device import Device, DeviceType
from conductor.fleet.inventory import merge_devices


def a_gpu(device_id: str, name: str, found_by: str, units: int = 1, memory: int = 0) -> Device:
    return Device(
        device_id=f"gpu:{device_id}", type=DeviceType.GPU, name=name, compute_units=units, memory_bytes=memory,
        capabilities=frozenset({found_by.split()[0]}), found_by=found_by,
    )  # fmt: skip


INTEL = a_gpu("0000:00:02.0", "Intel Alder Lake-P GT2 [Iris Xe Graphics]", "drm")
NVIDIA = a_gpu("0000:01:00.0", "NVIDIA GeForce RTX 3060", "nvml", units=28, memory=12)


def test_equal_ids_are_one_device_with_the_most_memory_and_all_capabilities() -> None:
    drm = a_gpu("0000:01:00.0", "NVIDIA GA106", "drm", memory=8)

    assert merge_devices([drm, NVIDIA]) == (
        Device(
            device_id="gpu:0000:01:00.0",
            type=DeviceType.GPU,
            name="NVIDIA GeForce RTX 3060",
            compute_units=28,
            memory_bytes=12,
            capabilities=frozenset({"drm", "nvml"}),
            found_by="drm + nvml",
        ),
    )


def test_a_finding_without_address_joins_the_card_of_its_brand() -> None:
    unaddressed = a_gpu("opencl.0.0", "Intel(R) Graphics [0x46a6]", "opencl (Intel)", units=96)

    merged = merge_devices([NVIDIA, INTEL, unaddressed])

    assert [(d.device_id, d.compute_units) for d in merged] == [("gpu:0000:00:02.0", 96), ("gpu:0000:01:00.0", 28)]


def test_a_finding_of_another_brand_is_another_device() -> None:
    unaddressed = a_gpu("opencl.0.0", "Intel(R) Arc(TM) A770 Graphics", "opencl (Intel)", units=512)

    assert len(merge_devices([NVIDIA, unaddressed])) == 2


def test_twin_cards_without_addresses_meet_their_twins_one_to_one() -> None:
    twins = [a_gpu(f"0000:0{bus}:00.0", "AMD Radeon RX 7900", "drm") for bus in (1, 2)]
    seen = [a_gpu(f"opencl.0.{i}", "AMD Radeon RX 7900", "opencl (rusticl)", units=96) for i in (0, 1)]

    merged = merge_devices([*twins, *seen])

    assert [(d.device_id, d.compute_units) for d in merged] == [("gpu:0000:01:00.0", 96), ("gpu:0000:02:00.0", 96)]


def test_opencl_names_a_gpu_that_the_kernel_knows_by_its_driver_only() -> None:
    kernel = a_gpu("fb000000.gpu", "Arm Mali GPU", "drm")
    opencl = a_gpu("opencl.0.0", "Mali-G610 r0p0", "opencl (ARM)", units=4)

    (gpu,) = merge_devices([kernel, opencl])

    assert (gpu.device_id, gpu.name, gpu.compute_units) == ("gpu:fb000000.gpu", "Mali-G610 r0p0", 4)


def test_two_engines_of_one_board_stay_two() -> None:
    engines = [
        Device(device_id=f"video:{key}", type=DeviceType.VIDEO, name="Rockchip", compute_units=1, found_by=source)
        for key, source in [("rkvdec", "video"), ("hantro", "other")]
    ]

    assert len(merge_devices(engines)) == 2


some_devices = st.lists(
    st.builds(
        Device,
        device_id=st.sampled_from(["gpu:0000:01:00.0", "gpu:0000:02:00.0", "gpu:opencl.0.0", "gpu:nvml.0", "cpu:0"]),
        type=st.just(DeviceType.GPU),
        name=st.sampled_from(["NVIDIA RTX", "NVIDIA", "gfx1100", "Intel Arc", ""]),
        compute_units=st.integers(1, 200),
        memory_bytes=st.integers(0, 100),
        capabilities=st.frozensets(st.sampled_from("abc")),
        found_by=st.sampled_from(["nvml", "drm", "opencl (A)", "opencl (B)", "a stranger's"]),
    ),
    max_size=8,
)


@given(some_devices)
def test_merging_invents_nothing_loses_nothing_and_repeats_no_id(findings: list[Device]) -> None:
    merged = merge_devices(findings)

    ids = [device.device_id for device in merged]
    assert len(set(ids)) == len(ids) <= len(findings)
    assert set(ids) <= {device.device_id for device in findings}
    assert {c for device in merged for c in device.capabilities} == {
        c for device in findings for c in device.capabilities
    }
