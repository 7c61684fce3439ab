"""Talk on a composed installation: the Python API, and conversations side by side."""

import asyncio
from pathlib import Path

import pytest

from conductor.app.conductor import Conductor
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.task import Submission
from conductor.domain.workload import Workload


@pytest.mark.anyio
async def test_a_query_is_answered_from_what_is_measured(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings={"mind.model": "none"}) as conductor:
        workload = Workload(kind="command", spec={"command": ["true"]})
        task = await conductor.tasks.submit(Submission(description="Sort the customers", workload=workload))
        await conductor.tasks.wait(task.task_id)

        said = await conductor.query(f"how is {task.task_id}?")

        ended = await conductor.tasks.get(task.task_id)
        assert ended.outcome is not None
        assert f"{task.task_id} (“Sort the customers”) succeeded on {ended.outcome.node_id}" in said
        with pytest.raises(InvalidInput, match="empty"):
            await conductor.query(" ")


@pytest.mark.anyio
async def test_two_yes_at_once_confirm_one_plan_once(tmp_path: Path) -> None:
    async with Conductor.open(tmp_path, settings={"mind.model": "none"}) as conductor:
        shown = await conductor.talk.say("run `true`")

        replies = await asyncio.gather(
            *(conductor.talk.say("yes", conversation_id=shown.conversation_id) for _ in range(5))
        )

        assert sum(reply.task_id is not None for reply in replies) == 1
        assert len(await conductor.tasks.list()) == 1


@pytest.mark.anyio
async def test_the_oldest_of_too_many_conversations_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor.app.talk._CONVERSATIONS", 3)
    async with Conductor.open(tmp_path, settings={"mind.model": "none"}) as conductor:
        started = [(await conductor.talk.say("hello")).conversation_id for _ in range(4)]

        with pytest.raises(NotFound):
            await conductor.talk.say("hello", conversation_id=started[0])
        assert (await conductor.talk.say("hello", conversation_id=started[3])).conversation_id == started[3]
