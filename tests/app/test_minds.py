"""Which language model takes part, and what keeps one from it; real installations in temporary folders."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from conductor.adapters.mind_llama.model import SHIPPED, WEIGHTS
from conductor.app import minds
from conductor.app.conductor import Conductor

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
        problems = conductor.health()["problems"]

    assert len(decision.models) == 1
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
    monkeypatch.setattr(minds, "own_mind", partial(minds.own_mind, folder))

    async with Conductor.open(tmp_path / "data", settings=QUIET) as conductor:
        decision = await conductor.conduct_task(TEXT)
        problems = conductor.health()["problems"]

    assert decision.device == "VIDEO"
    assert "install the package again" in problems[0]
