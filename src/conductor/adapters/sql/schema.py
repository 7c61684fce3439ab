"""The tables, once, for SQLite and PostgreSQL.

JSON documents are stored as text that was encoded by us: the hot path writes them without another pass, and both
databases give back the very bytes that were hashed. A new database is made from these tables, an older one migrated to
them; `tests/store` checks that both are the same.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

#: Alembic's own table, beside ours: the revision of the rest.
revisions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))

#: SQLite hands out ascending row numbers only for INTEGER primary keys.
_Serial = BigInteger().with_variant(Integer(), "sqlite")

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String(40), primary_key=True),
    Column("user_id", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("description", Text, nullable=False),
    Column("idempotency_key", String(255)),
    Column("submission", Text, nullable=False),
    Column("decision", Text),
    Column("outcome", Text),
    Column("node_id", String(80)),
    Column("attempt", Integer, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("submitted_at_unix_s", Double, nullable=False),
    Column("updated_at_unix_s", Double, nullable=False),
    Index(
        "tasks_idempotency",
        "user_id",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "tasks_unsettled",
        "task_id",
        sqlite_where=text("NOT settled"),
        postgresql_where=text("NOT settled"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("task_id", String(40), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("at_unix_s", Double, nullable=False),
    Column("detail", Text),
)

#: Ledger entries that are durable here but not yet sealed into a block of the ledger file.
ledger_outbox = Table(
    "ledger_outbox",
    metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("line", LargeBinary, nullable=False),
)

#: Which entries of the ledger speak about a task.
ledger_subjects = Table(
    "ledger_subjects",
    metadata,
    Column("entry_index", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", String(40), nullable=False, index=True),
    Column("kind", String(24), nullable=False),
)

experiences = Table(
    "experiences",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("task_id", String(40), nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("facts", Text, nullable=False),
)

#: What people said would have been right; the last row of a task counts, one that says nothing takes it back.
corrections = Table(
    "corrections",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("task_id", String(40), nullable=False, index=True),
    Column("device", String(8)),
    Column("task_kind", String(40)),
    Column("priority", Integer),
    Column("by", String(200), nullable=False),
    Column("at_unix_s", Double, nullable=False),
)

readings = Table(
    "readings",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("node_id", String(80), nullable=False),
    Column("taken_at_unix_s", Double, nullable=False, index=True),
    Column("reading", Text, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_at_unix_s", Double, nullable=False),
)
