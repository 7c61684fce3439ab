"""An open store, and tasks to put into it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.records import SqlExperiences, SqlOutbox, SqlReadings, SqlSettings
from conductor.adapters.sql.tasks import SqlTasks
from conductor.domain.decision import ConfidenceParts, Decision, Estimate, NodeScore, SimilarTask
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.event import TaskEvent
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState, UserId
from conductor.domain.workload import Limits, Workload

ROAD = [TaskState.DECIDED, TaskState.QUEUED, TaskState.PLACED, TaskState.RUNNING, TaskState.SUCCEEDED]


@dataclass(frozen=True)
class Store:
    database: Database
    committer: GroupCommitter
    tasks: SqlTasks
    outbox: SqlOutbox
    experiences: SqlExperiences
    readings: SqlReadings
    settings: SqlSettings

    async def keep(self, *tasks: Task) -> None:
        """Record tasks as they are, each with the event that led to its state."""
        for task in tasks:
            self.tasks.record(task, replace(event_of(task), state=TaskState.SUBMITTED))
            if task.state is not TaskState.SUBMITTED:
                self.tasks.record(task, event_of(task))
        await self.committer.durable()


@contextlib.asynccontextmanager
async def open_store(url: str, *, patience_s: float = 5.0) -> AsyncIterator[Store]:
    database = await Database.open(url)
    try:
        async with running_store(database, patience_s=patience_s) as store:
            yield store
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def running_store(database: Database, *, patience_s: float = 5.0) -> AsyncIterator[Store]:
    """The records of an open database, with the committer running until the end of the block."""
    committer = GroupCommitter(database, patience_s=patience_s)
    running = asyncio.create_task(committer.run())
    try:
        yield Store(
            database=database,
            committer=committer,
            tasks=SqlTasks(database, committer),
            outbox=SqlOutbox(database, committer),
            experiences=SqlExperiences(database, committer),
            readings=SqlReadings(database, committer),
            settings=SqlSettings(database),
        )
    finally:
        committer.close()
        await running


def a_task(name: str, *, state: TaskState = TaskState.SUBMITTED, **submission: Any) -> Task:
    submission.setdefault("description", "sharpen these photos")
    submission.setdefault("workload", Workload(kind="noop"))
    return Task(
        task_id=TaskId(name),
        submission=Submission(**submission),
        state=state,
        submitted_at_unix_s=1000.0,
        updated_at_unix_s=1000.5,
    )


def event_of(task: Task, **detail: Any) -> TaskEvent:
    return TaskEvent(task_id=task.task_id, state=task.state, at_unix_s=task.updated_at_unix_s, detail=detail)


def life_of(name: str, **submission: Any) -> Iterator[Task]:
    """A task in every state of a life without mishaps."""
    task = a_task(name, **submission)
    yield task
    for number, state in enumerate(ROAD):
        task = task.advance(state, at_unix_s=1001.0 + number)
        yield task


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
figures = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | figures | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, plain, max_size=4)
devices = st.sampled_from(DeviceType)
estimates = st.builds(Estimate, value=figures, low=figures, high=figures, source=st.sampled_from(["prior", "history"]))
scores = st.builds(
    NodeScore,
    node_id=names.map(NodeId),
    remark=texts,
    rejected_because=texts,
    **dict.fromkeys(("score", "thermal", "queue", "capability", "history"), figures),
)
similar = st.builds(
    SimilarTask,
    task_id=names,
    description=texts,
    similarity=figures,
    device=devices,
    succeeded=st.none() | st.booleans(),
    duration_s=st.none() | figures,
)
decisions = st.builds(
    Decision,
    task_id=names,
    device=devices,
    runner_up=devices,
    available_device=devices,
    task_kind=st.sampled_from(TaskKind),
    priority=st.integers(1, 5),
    compute_units=estimates,
    duration_s=estimates,
    confidence=figures,
    parts=st.builds(
        ConfidenceParts,
        similarity=figures,
        device_success=figures,
        node_availability=figures,
        resource_availability=figures,
    ),
    nodes=st.lists(scores, max_size=2).map(tuple),
    reasoning=texts,
    similar=st.lists(similar, max_size=2).map(tuple),
    device_probabilities=st.lists(st.tuples(devices, figures), max_size=3).map(tuple),
    evidence=objects,
    models=st.lists(st.tuples(names, names), max_size=2).map(tuple),
    decided_at_unix_s=figures,
)
outcomes = st.builds(
    Outcome,
    ending=st.sampled_from(Ending),
    message=texts,
    node_id=names.map(NodeId),
    started_at_unix_s=figures,
    duration_s=figures,
    cpu_time_s=figures,
    peak_memory_bytes=st.integers(0, 2**60),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    result=plain,
    stdout_tail=st.text(st.characters(codec="utf-8"), max_size=30),
    stderr_tail=texts,
    output_bytes=st.integers(0, 2**60),
    confinement=texts,
)
limits = st.builds(Limits, memory_bytes=st.integers(1, 2**50), wall_time_s=st.floats(0.001, 1e9), network=st.booleans())
submissions = st.builds(
    Submission,
    description=texts.filter(str.strip),
    workload=st.none() | st.builds(Workload, kind=names, spec=objects, limits=limits),
    metadata=objects,
    user_id=names.map(UserId),
    max_retries=st.none() | st.integers(0, 9),
)
_numbers = itertools.count(1)


def new_task_id() -> TaskId:
    """Never the same twice, for examples that share a database."""
    return TaskId(f"n{next(_numbers):08}")


tasks = st.builds(
    Task,
    task_id=st.builds(new_task_id),
    submission=submissions,
    state=st.sampled_from(TaskState),
    submitted_at_unix_s=figures,
    updated_at_unix_s=figures,
    attempt=st.integers(0, 9),
    decision=st.none() | decisions,
    outcome=st.none() | outcomes,
    node_id=st.none() | names,
)
