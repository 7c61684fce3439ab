"""What people said about decisions: corrections of single tasks, and devices that submissions asked for.

Every word is kept; the last one about a task counts, and one that says nothing takes back what was said before.
"""

from typing import Final

import orjson
from sqlalchemy import bindparam, func, insert, or_, select

from conductor.adapters.sql.committer import GroupCommitter, Statement
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.schema import corrections, tasks
from conductor.domain.correction import Correction
from conductor.domain.device import DeviceType, TaskKind

_COLUMNS: Final = ("task_id", "device", "task_kind", "priority", "by", "at_unix_s")


class SqlCorrections:
    """Corrections, and devices asked for, in one database."""

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer
        self._put = Statement(database, insert(corrections).values({name: bindparam(name) for name in _COLUMNS}))

    def put(self, correction: Correction) -> None:
        """Queue a correction for the next commit."""
        device = None if correction.device is None else correction.device.value
        kind = None if correction.task_kind is None else correction.task_kind.value
        self._add(correction.task_id, device, kind, correction.priority, correction.by, correction.at_unix_s)

    def withdraw(self, task_id: str, *, by: str, at_unix_s: float) -> None:
        """Queue that nothing said so far about a task counts any more."""
        self._add(task_id, None, None, None, by, at_unix_s)

    async def of_task(self, task_id: str) -> Correction | None:
        """What counts about one task."""
        return next(iter(await self._latest(task_id, 1)), None)

    async def latest(self, limit: int) -> list[Correction]:
        """What counts, of the tasks spoken of last, oldest first."""
        return await self._latest(None, limit)

    async def asked_for(self, limit: int) -> list[tuple[str, DeviceType]]:
        """Descriptions of the latest submissions whose metadata name a device type, oldest first."""
        query = (
            select(tasks.c.description, tasks.c.submission)
            .where(tasks.c.submission.contains('"device":', autoescape=True))
            .order_by(tasks.c.task_id.desc())
            .limit(limit)
        )
        async with self._database.reading("reading devices asked for") as connection:
            rows = (await connection.execute(query)).all()
        found = ((row.description, orjson.loads(row.submission)["metadata"].get("device")) for row in reversed(rows))
        return [(text, DeviceType(device)) for text, device in found if device in tuple(DeviceType)]

    async def _latest(self, task_id: str | None, limit: int) -> list[Correction]:
        last = select(func.max(corrections.c.seq)).group_by(corrections.c.task_id)
        says_something = or_(*(corrections.c[name].is_not(None) for name in ("device", "task_kind", "priority")))
        if task_id is not None:
            last = last.where(corrections.c.task_id == task_id)
        query = (
            select(corrections, tasks.c.description)
            .join(tasks, tasks.c.task_id == corrections.c.task_id)
            .where(corrections.c.seq.in_(last), says_something)
            .order_by(corrections.c.seq.desc())
            .limit(limit)
        )
        async with self._database.reading("reading corrections") as connection:
            rows = (await connection.execute(query)).all()
        return [
            Correction(
                task_id=row.task_id,
                description=row.description,
                device=None if row.device is None else DeviceType(row.device),
                task_kind=None if row.task_kind is None else TaskKind(row.task_kind),
                priority=row.priority,
                by=row.by,
                at_unix_s=row.at_unix_s,
            )
            for row in reversed(rows)
        ]

    def _add(
        self, task_id: str, device: str | None, kind: str | None, priority: int | None, by: str, at_unix_s: float
    ) -> None:
        values = dict(zip(_COLUMNS, (task_id, device, kind, priority, by, at_unix_s), strict=True))
        self._committer.add(self._put, self._put.row(values))
