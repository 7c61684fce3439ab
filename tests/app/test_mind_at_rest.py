"""Without a server the same mind decides as with it: stored settings, the kept version, what the ledger vouches for."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.mind_tuning.versions import Versions
from conductor.app.conductor import Conductor
from conductor.app.installation import Installation
from conductor.app.minds.batch import Mind
from conductor.decisions.tuning import Adjustment
from conductor.domain.device import DeviceType

pytestmark = pytest.mark.anyio
QUIET = {"log.level": "error"}
TEXT = "sort the customer table by postcode"


def at_rest(data_dir: Path) -> Mind:
    return Mind(Installation.find(data_dir=data_dir, environ={}))


async def in_thread(make: Callable[[Path], Mind], data_dir: Path) -> Mind:
    """What a command does, which has no event loop of its own."""
    return await asyncio.to_thread(make, data_dir)


def keep_version_that_prefers(device: DeviceType, root: Path) -> None:
    """Write a tuned version as `mind tune` does, without the entry on the ledger."""
    encoder = OnnxEncoder()
    arrays = Adjustment.zero(encoder.width).arrays()
    arrays["device_bias"] = np.array([20.0 if each is device else 0.0 for each in DeviceType])
    versions = Versions(root)
    version = versions.add(arrays, {"encoder": {"name": encoder.name, "sha256": encoder.checksum}})
    versions.activate(version.number)


def test_a_folder_nobody_served_yet_gets_the_shipped_mind_and_stays_as_it_was(tmp_path: Path) -> None:
    mind = at_rest(tmp_path / "data")

    decision = mind.decide(TEXT)

    assert mind.remarks == ()
    assert len(decision.models) == 2
    assert not (tmp_path / "data").exists()


async def test_a_stored_choice_counts_without_a_server(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        await conductor.configuration.change("mind.model", "none")

    mind = await in_thread(at_rest, tmp_path)

    assert len(mind.decide(TEXT).models) == 1
    assert mind.remarks == ("mind.model is none, as `conductor settings set` stored it",)


async def test_it_counts_beside_a_running_server_too(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        await conductor.configuration.change("mind.model", "none")
        mind = await in_thread(at_rest, tmp_path)

    assert len(mind.decide(TEXT).models) == 1


async def test_a_stored_choice_that_fails_is_said_in_a_line_and_the_encoder_decides(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        await conductor.configuration.change("mind.model", "/nowhere/tiny.gguf")

    mind = await in_thread(at_rest, tmp_path)

    assert len(mind.decide(TEXT).models) == 1
    assert "does not take part" in mind.remarks[1]
    assert "check mind.model" in mind.remarks[1]


@pytest.mark.parametrize("sealed", [True, False])
async def test_the_kept_version_takes_part_if_the_ledger_knows_it(tmp_path: Path, *, sealed: bool) -> None:
    settings = QUIET if sealed else QUIET | {"ledger.block_interval_s": 3600}
    async with Conductor.open(tmp_path, settings=settings) as conductor:
        keep_version_that_prefers(DeviceType.NPU, tmp_path / "mind")
        await conductor.tuning.roll_back(1)
        served = await conductor.conduct_task(TEXT)
        if not sealed:
            mind = await in_thread(at_rest, tmp_path)
    if sealed:
        mind = await in_thread(at_rest, tmp_path)

    decision = mind.decide(TEXT)

    assert decision.device is served.device is DeviceType.NPU
    assert decision.models == served.models
    assert mind.remarks == ("tuned mind 0001 takes part, as `conductor mind tune` kept it",)


async def test_a_version_that_the_ledger_does_not_know_stays_away_and_it_is_said(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET):
        keep_version_that_prefers(DeviceType.NPU, tmp_path / "mind")

    mind = await in_thread(at_rest, tmp_path)

    assert mind.decide(TEXT).device is DeviceType.CPU
    assert "tuned mind 0001 does not take part" in mind.remarks[0]
    assert "the ledger recorded none" in mind.remarks[0]


async def test_weights_that_the_ledger_does_not_know_are_withheld(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        await conductor.models.add(conductor.models.now()[1].name, "00" * 32, "somebody else's weights")

    mind = await in_thread(at_rest, tmp_path)

    assert len(mind.decide(TEXT).models) == 1
    assert "the ledger recorded 0000" in mind.remarks[0]
