"""Tasks in SQL: transitions written through the group commit, queries on the side.

A task is inserted once; every later transition within one commit collapses into a single UPDATE of its row, while the
`events` table keeps each transition.
"""

from collections.abc import Awaitable, Iterable, Sequence

import orjson
from sqlalchemy import bindparam, func, insert, select, update

from conductor.adapters.sql.committer import GroupCommitter, Row, Statement
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.documents import encode, task_of
from conductor.adapters.sql.schema import events, tasks
from conductor.domain.errors import NotFound
from conductor.domain.event import TaskEvent
from conductor.domain.task import Task, TaskId, TaskState, UserId
from conductor.scheduling.ports import TaskFilter

_INSERTED = tuple(column.name for column in tasks.columns)
_UPDATED = ("state", "outcome", "node_id", "attempt", "settled", "updated_at_unix_s")


class SqlTasks:
    """`Journal` and `TaskArchive` over one database."""

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer
        self._insert = Statement(database, insert(tasks).values({name: bindparam(name) for name in _INSERTED}))
        this_row = tasks.c.task_id == bindparam("id_of_row")
        changes: dict[str, object] = {name: bindparam(name) for name in _UPDATED}
        self._update = Statement(database, update(tasks).where(this_row).values(changes))
        self._decide = Statement(
            database, update(tasks).where(this_row).values(changes | {"decision": bindparam("decision")})
        )
        self._event = Statement(
            database,
            insert(events).values({name: bindparam(name) for name in ("task_id", "state", "at_unix_s", "detail")}),
        )
        self._new: dict[TaskId, Task] = {}
        self._changed: dict[TaskId, Task] = {}
        self._decided: dict[TaskId, Task] = {}
        committer.before_commit(self._task_rows)

    def record(self, task: Task, event: TaskEvent) -> Awaitable[None]:
        """Queue one transition; see `Journal.record`."""
        task_id = task.task_id
        if event.state is TaskState.SUBMITTED or task_id in self._new:
            self._new[task_id] = task
        elif event.state is TaskState.DECIDED or task_id in self._decided:
            self._decided[task_id] = task
        else:
            self._changed[task_id] = task
        detail = encode(event.detail) if event.detail else None
        self._committer.add(self._event, (task_id, event.state.value, event.at_unix_s, detail))
        return self._committer.durable()

    def _task_rows(self) -> Iterable[tuple[Statement, list[Row]]]:
        new, self._new = self._new, {}
        decided, self._decided = self._decided, {}
        changed, self._changed = self._changed, {}
        if new:
            yield (
                self._insert,
                [self._insert.row(_fixed(task) | _decision(task) | _changing(task)) for task in new.values()],
            )
        if decided:
            yield self._decide, [self._decide.row(_decision(task) | _changing(task)) for task in decided.values()]
        if changed:
            yield self._update, [self._update.row(_changing(task)) for task in changed.values()]

    async def get(self, task_id: TaskId) -> Task:
        """See `TaskArchive.get`."""
        async with self._database.reading("reading a task") as connection:
            row = (await connection.execute(select(tasks).where(tasks.c.task_id == task_id))).one_or_none()
        if row is None:
            raise NotFound.task(task_id)
        return task_of(row)

    async def list(self, wanted: TaskFilter) -> Sequence[Task]:
        """See `TaskArchive.list`."""
        query = select(tasks).order_by(tasks.c.task_id.desc()).limit(wanted.limit)
        if wanted.states is not None:
            query = query.where(tasks.c.state.in_([state.value for state in wanted.states]))
        if wanted.user_id is not None:
            query = query.where(tasks.c.user_id == wanted.user_id)
        if wanted.text is not None:
            query = query.where(tasks.c.description.icontains(wanted.text, autoescape=True))
        if wanted.before is not None:
            query = query.where(tasks.c.task_id < wanted.before)
        async with self._database.reading("listing tasks") as connection:
            return [task_of(row) for row in (await connection.execute(query)).all()]

    async def unsettled(self) -> Sequence[Task]:
        """See `TaskArchive.unsettled`."""
        query = select(tasks).where(~tasks.c.settled).order_by(tasks.c.task_id)
        async with self._database.reading("reading open tasks") as connection:
            return [task_of(row) for row in (await connection.execute(query)).all()]

    async def events(self, task_id: TaskId) -> Sequence[TaskEvent]:
        """See `TaskArchive.events`."""
        query = select(events).where(events.c.task_id == task_id).order_by(events.c.seq)
        async with self._database.reading("reading a task's events") as connection:
            rows = (await connection.execute(query)).all()
        return [
            TaskEvent(
                task_id=task_id,
                state=TaskState(row.state),
                at_unix_s=row.at_unix_s,
                detail=orjson.loads(row.detail) if row.detail else {},
            )
            for row in rows
        ]

    async def with_key(self, user_id: UserId, idempotency_key: str) -> TaskId | None:
        """See `TaskArchive.with_key`."""
        query = select(tasks.c.task_id).where(tasks.c.user_id == user_id, tasks.c.idempotency_key == idempotency_key)
        async with self._database.reading("looking up an idempotency key") as connection:
            found = (await connection.execute(query)).scalar_one_or_none()
        return None if found is None else TaskId(found)

    async def counts(self) -> dict[TaskState, int]:
        """See `TaskArchive.counts`."""
        query = select(tasks.c.state, func.count()).group_by(tasks.c.state)
        async with self._database.reading("counting tasks") as connection:
            return {TaskState(state): count for state, count in (await connection.execute(query)).all()}


def _fixed(task: Task) -> dict[str, object]:
    submission = task.submission
    return {
        "task_id": task.task_id,
        "user_id": submission.user_id,
        "description": submission.description,
        "idempotency_key": submission.idempotency_key,
        "submission": encode(submission),
        "submitted_at_unix_s": task.submitted_at_unix_s,
    }


def _decision(task: Task) -> dict[str, object]:
    """Large and written once; later transitions leave it alone."""
    return {"decision": None if task.decision is None else encode(task.decision)}


def _changing(task: Task) -> dict[str, object]:
    return {
        "id_of_row": task.task_id,
        "state": task.state.value,
        "outcome": None if task.outcome is None else encode(task.outcome),
        "node_id": task.node_id,
        "attempt": task.attempt,
        "settled": task.is_settled,
        "updated_at_unix_s": task.updated_at_unix_s,
    }
