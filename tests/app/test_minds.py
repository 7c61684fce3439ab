"""Which language model takes part, and what keeps one from it; real installations in temporary folders."""

import json
import shutil
import socket
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from conductor.adapters.mind_llama.model import SHIPPED, WEIGHTS
from conductor.app.conductor import Conductor
from conductor.app.minds import chosen
from conductor.decisions.converse.about_fleet import models_answer
from conductor.decisions.converse.snapshot import Snapshot

pytestmark = pytest.mark.anyio
QUIET = {"log.level": "error"}
TEXT = "transcode the lecture recording to H.265"


async def test_our_own_mind_takes_part_and_is_recorded(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        decision = await conductor.conduct_task(TEXT)
        names = [model.name for model in conductor.models.now()]
        await conductor.ledger.receipt(1)  # waits until the entry is sealed
        entries = await conductor.ledger.entries(0, 20)
        recorded = [entry["body"]["sha256"] for entry in entries if entry["kind"] == "model"]

    assert names == [name for name, _ in decision.models]
    assert names[1].startswith("conductor-mind ")
    said = decision.evidence["language_model"]
    assert isinstance(said, dict)
    assert said["device"] == "VIDEO"
    assert all(cue in TEXT for cue in said["cues"])
    assert recorded == [digest for _, digest in decision.models]


async def test_without_a_mind_decisions_come_from_the_encoder_alone(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET | {"mind.model": "none"}) as conductor:
        decision = await conductor.conduct_task(TEXT)

    assert len(decision.models) == 1
    assert decision.evidence["language_model"] is None


async def test_weights_that_the_ledger_does_not_know_are_withheld_and_it_is_said(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        name = conductor.models.now()[1].name
        await conductor.models.add(name, "00" * 32, "somebody else's weights")

    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        decision = await conductor.conduct_task(TEXT)
        problems, mind = conductor.health()["problems"], conductor.health()["mind"]

    assert len(decision.models) == 1
    assert (mind["configured"], mind["running"], mind["state"]) == ("conductor", "", "withheld")
    assert mind["why"] in problems[0]
    assert "the ledger recorded 0000" in problems[0]
    assert "mind.model to none" in problems[0]
    notes = decision.evidence["notes"]
    assert isinstance(notes, list)
    assert "the language model did not take part" in notes[0]


@pytest.mark.parametrize("damage", ["cut off", "no card"])
async def test_a_damaged_mind_costs_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    folder = shutil.copytree(SHIPPED, tmp_path / "mind")
    if damage == "cut off":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:10_000])
    else:
        (folder / "card.json").unlink()
    monkeypatch.setattr(chosen, "own_mind", partial(chosen.own_mind, folder))

    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        decision = await conductor.conduct_task(TEXT)
        problems = conductor.health()["problems"]

    assert decision.device == "VIDEO"
    assert "install the package again" in problems[0]


def away() -> str:
    """The address of an endpoint that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


async def settled(conductor: Conductor) -> dict[str, Any]:
    """What is said of the language model once it is no longer being loaded."""
    with anyio.fail_after(60):
        while (mind := conductor.health()["mind"])["state"] == "loading":
            await anyio.sleep(0.02)
    return dict(mind)


@pytest.mark.parametrize("choice", ["/nowhere/tiny.gguf", "endpoint"])
async def test_a_foreign_mind_that_cannot_work_is_told_before_anybody_decides(tmp_path: Path, choice: str) -> None:
    choice = f"{away()}#m" if choice == "endpoint" else choice

    async with Conductor.open(tmp_path, settings=QUIET | {"mind.model": choice}) as conductor:
        mind = await settled(conductor)
        problems = conductor.health()["problems"]
        models = conductor.models.now()

    assert (mind["configured"], mind["running"], mind["state"], mind["sha256"]) == (choice, "", "fails", "")
    assert mind["why"]
    assert mind["remedy"].startswith("check mind.model")
    assert "conductor settings set mind.model conductor" in mind["remedy"]
    assert [problem.partition(";")[0] for problem in problems] == [f"language model: {mind['why']}"]
    assert len(models) == 1, "the encoder alone takes part"


async def test_an_endpoint_takes_part_by_name_and_address_and_the_ledger_names_no_checksum(tmp_path: Path) -> None:
    answer = {
        "device": "VIDEO", "task_kind": "video_transcode", "priority": 3, "compute_units": 4.0,
        "duration": "5 minutes", "reason": "It encodes video.",
    }  # fmt: skip
    broken = False

    async def complete(_request: web.Request) -> web.Response:
        if broken:
            return web.Response(status=503, text="out of memory")
        return web.json_response({"choices": [{"message": {"content": json.dumps(answer)}}]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", complete)
    server = TestServer(app)
    await server.start_server()
    choice = f"http://127.0.0.1:{server.port}/v1#a-model-with-a-long-name"
    name = f"a-model-with-a-long-name at http://127.0.0.1:{server.port}/v1"
    try:
        async with Conductor.open(tmp_path, settings=QUIET | {"mind.model": choice}) as conductor:
            ready = await settled(conductor)
            decision = await conductor.conduct_task(TEXT)
            explained = await conductor.explain_decision(decision.task_id)
            await conductor.ledger.receipt(2)  # waits until the entries are sealed
            entries = await conductor.ledger.entries(0, 20)
            named = models_answer(Snapshot(taken_at_unix_s=0.0, models=conductor.models.now()))
            broken = True
            await conductor.conduct_task("sort the invoices by date")
            failing = conductor.health()["mind"]
            left = [model.name for model in conductor.models.now()]
        async with Conductor.open(tmp_path, settings=QUIET | {"mind.model": choice}) as conductor:
            await settled(conductor)
            await conductor.ledger.receipt(2)
            again = [entry for entry in await conductor.ledger.entries(0, 50) if entry["kind"] == "model"]
    finally:
        await server.close()

    assert (ready["state"], ready["running"], ready["sha256"], ready["why"]) == ("ready", name, "", "")
    assert (name, "") in decision.models
    assert f"{name} · its weights are behind the endpoint and cannot be checked" in explained
    assert f"{name}: takes part in decisions (its weights cannot be checked from here)" in named
    recorded = [entry for entry in entries if entry["subject"] == name]
    assert [entry["body"]["sha256"] for entry in recorded] == [None]
    assert "cannot be checked" in str(recorded[0]["body"]["remark"])
    decided = next(entry for entry in entries if entry["kind"] == "decision")
    assert decided["body"]["choice"]["models"][name] is None
    assert (failing["state"], failing["running"]) == ("fails", "")
    assert "503" in failing["why"]
    assert name not in left
    assert len(again) == 2, "encoder and endpoint, each recorded once"


async def test_a_choice_that_waits_for_the_restart_is_told_beside_the_mind_that_runs(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings=QUIET) as conductor:
        await conductor.configuration.change("mind.model", "Owner/model")
        mind = conductor.health()["mind"]
        problems = conductor.health()["problems"]

    assert (mind["configured"], mind["in_effect"], mind["state"]) == ("Owner/model", "conductor", "ready")
    assert mind["running"].startswith("conductor-mind ")
    assert len(mind["sha256"]) == 64
    assert mind["remedy"] == "start the server again"
    assert problems == []
