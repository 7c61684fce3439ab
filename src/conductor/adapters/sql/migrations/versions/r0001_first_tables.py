"""Tasks and their events, ledger outbox, experiences, readings, settings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.String(40), primary_key=True),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("submission", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("node_id", sa.String(80)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("submitted_at_unix_s", sa.Double, nullable=False),
        sa.Column("updated_at_unix_s", sa.Double, nullable=False),
    )
    keyed, open_ones = sa.text("idempotency_key IS NOT NULL"), sa.text("NOT settled")
    op.create_index(
        "tasks_idempotency",
        "tasks",
        ["user_id", "idempotency_key"],
        unique=True,
        sqlite_where=keyed,
        postgresql_where=keyed,
    )
    op.create_index("tasks_unsettled", "tasks", ["task_id"], sqlite_where=open_ones, postgresql_where=open_ones)
    op.create_table(
        "events",
        sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(40), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at_unix_s", sa.Double, nullable=False),
        sa.Column("detail", sa.Text),
    )
    op.create_table(
        "ledger_outbox",
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_subjects",
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String(40), nullable=False, index=True),
        sa.Column("kind", sa.String(24), nullable=False),
    )
    op.create_table(
        "experiences",
        sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(40), nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_table(
        "readings",
        sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
        sa.Column("node_id", sa.String(80), nullable=False),
        sa.Column("taken_at_unix_s", sa.Double, nullable=False, index=True),
        sa.Column("reading", sa.Text, nullable=False),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("changed_at_unix_s", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Remove every table."""
    for name in ("settings", "readings", "experiences", "ledger_subjects", "ledger_outbox", "events", "tasks"):
        op.drop_table(name)
