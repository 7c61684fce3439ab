"""The smaller records: ledger outbox, experiences, readings, settings. All but settings are written behind."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import orjson
from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy import update as update_of

from conductor.adapters.sql.attempts import failed_attempts
from conductor.adapters.sql.committer import GroupCommitter, Statement
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.documents import encode
from conductor.adapters.sql.schema import experiences, ledger_outbox, ledger_subjects, readings, settings, tasks
from conductor.decisions.ports import Experience, FailedAttempt
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.json import JsonValue
from conductor.domain.node import NodeReading

#: Characters that the column takes; PostgreSQL refuses more.
_LONGEST_SUBJECT: Final = 40


class SqlOutbox:
    """Ledger entries between their commit and their block, and an index from a task to its entries.

    An entry becomes durable in the same transaction as the transition it speaks of, so a crash can neither lose it nor
    leave it in the ledger without its transition.
    """

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer
        self._put = Statement(
            database, insert(ledger_outbox).values(entry_index=bindparam("entry_index"), line=bindparam("line"))
        )
        self._name = Statement(
            database,
            insert(ledger_subjects).values(
                entry_index=bindparam("entry_index"), subject=bindparam("subject"), kind=bindparam("kind")
            ),
        )
        self._clear = Statement(
            database, delete(ledger_outbox).where(ledger_outbox.c.entry_index < bindparam("sealed_size"))
        )

    def put(self, entry_index: int, subject: str, kind: str, line: bytes) -> None:
        """Queue one entry for the commit that its transition belongs to."""
        self._committer.add(self._put, (entry_index, line))
        self._committer.add(self._name, (entry_index, _subject_key(subject), kind))

    def sealed(self, size: int) -> None:
        """Entries below `size` stand in the ledger file; their copies here are no longer needed."""
        self._committer.add(self._clear, (size,))

    async def waiting(self) -> Sequence[bytes]:
        """Entries not known to be sealed, in order."""
        query = select(ledger_outbox.c.line).order_by(ledger_outbox.c.entry_index)
        async with self._database.reading("reading the ledger's outbox") as connection:
            return [bytes(line) for line in (await connection.execute(query)).scalars()]

    async def next_index(self) -> int:
        """One more than the highest entry index ever committed here."""
        async with self._database.reading("reading the ledger's index") as connection:
            highest = (await connection.execute(select(func.max(ledger_subjects.c.entry_index)))).scalar_one()
        return 0 if highest is None else highest + 1

    async def entries_about(self, subject: str) -> dict[str, int]:
        """The latest entry of each kind about one task."""
        query = (
            select(ledger_subjects.c.kind, ledger_subjects.c.entry_index)
            .where(ledger_subjects.c.subject == _subject_key(subject))
            .order_by(ledger_subjects.c.entry_index)
        )
        async with self._database.reading("reading the ledger's index") as connection:
            return {row.kind: row.entry_index for row in (await connection.execute(query)).all()}


def _subject_key(subject: str) -> str:
    """What the index holds of a subject: itself, or its digest where it is longer than the column (a model's path)."""
    if len(subject) <= _LONGEST_SUBJECT:
        return subject
    return hashlib.sha256(subject.encode()).hexdigest()[:_LONGEST_SUBJECT]


class SqlExperiences:
    """`ExperienceStore`: embeddings as float16, everything else as one JSON document."""

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer
        self._put = Statement(
            database,
            insert(experiences).values(
                task_id=bindparam("task_id"), embedding=bindparam("embedding"), facts=bindparam("facts")
            ),
        )

    def remember(self, experience: Experience) -> None:
        """See `ExperienceStore.remember`."""
        facts = {
            name: getattr(experience, name)
            for name in Experience.__dataclass_fields__
            if name not in ("task_id", "embedding", "failed_attempts")
        }
        embedding = experience.embedding.astype(np.float16).tobytes()
        self._committer.add(self._put, (experience.task_id, embedding, encode(facts)))

    async def recall(self, limit: int) -> Iterable[Experience]:
        """See `ExperienceStore.recall`."""
        query = select(experiences).order_by(experiences.c.seq.desc()).limit(limit)
        latest = query.with_only_columns(experiences.c.task_id).subquery()
        async with self._database.reading("reading experiences") as connection:
            rows = (await connection.execute(query)).all()
            attempts = await failed_attempts(connection, tasks.c.task_id.in_(select(latest)), tasks.c.attempt > 1)
        return [
            _experience(row.task_id, row.embedding, orjson.loads(row.facts), attempts.get(row.task_id, ()))
            for row in reversed(rows)
        ]

    async def unsettled_attempts(self) -> Mapping[str, Sequence[FailedAttempt]]:
        """See `ExperienceStore.unsettled_attempts`."""
        async with self._database.reading("reading attempts of open tasks") as connection:
            return await failed_attempts(connection, ~tasks.c.settled, tasks.c.attempt > 0)


def _experience(
    task_id: str, embedding: bytes, facts: dict[str, JsonValue], failed_attempts: Sequence[FailedAttempt]
) -> Experience:
    return Experience(
        task_id=task_id,
        failed_attempts=tuple(failed_attempts),
        embedding=np.frombuffer(embedding, dtype=np.float16).astype(np.float32),
        **facts
        | {  # type: ignore[arg-type]  # the document was written from the same fields
            "device": DeviceType(str(facts["device"])),
            "available_device": DeviceType(str(facts["available_device"])),
            "task_kind": TaskKind(str(facts["task_kind"])),
        },
    )


class SqlReadings:
    """The telemetry of each node, kept for a limited time."""

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer
        self._put = Statement(
            database,
            insert(readings).values(
                node_id=bindparam("node_id"), taken_at_unix_s=bindparam("taken"), reading=bindparam("reading")
            ),
        )
        self._forget = Statement(database, delete(readings).where(readings.c.taken_at_unix_s < bindparam("before")))

    def put(self, batch: Sequence[NodeReading]) -> None:
        """Queue readings for the next commit."""
        for reading in batch:
            self._committer.add(self._put, (reading.node_id, reading.taken_at_unix_s, encode(reading)))

    def forget(self, before_unix_s: float) -> None:
        """Delete what is older."""
        self._committer.add(self._forget, (before_unix_s,))


class SqlSettings:
    """Settings that users changed while running; the strongest source (FEATURES G16)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, JsonValue]:
        """Every stored setting."""
        async with self._database.reading("reading settings") as connection:
            rows = (await connection.execute(select(settings.c.name, settings.c.value))).all()
        return {name: orjson.loads(value) for name, value in rows}

    async def set(self, name: str, value: JsonValue, *, at_unix_s: float) -> None:
        """Store one setting, replacing its former value."""
        row = {"value": encode(value), "changed_at_unix_s": at_unix_s}
        async with self._database.writing("storing a setting") as connection:
            changed = await connection.execute(update_of(settings).where(settings.c.name == name).values(**row))
            if changed.rowcount == 0:
                await connection.execute(insert(settings).values(name=name, **row))

    async def unset(self, name: str) -> bool:
        """Remove one setting, so that weaker sources count again; whether it was there."""
        async with self._database.writing("removing a setting") as connection:
            return (await connection.execute(delete(settings).where(settings.c.name == name))).rowcount > 0
