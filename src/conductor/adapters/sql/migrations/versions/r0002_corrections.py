"""What people said would have been right for a task."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "corrections",
        sa.Column("seq", _Serial, primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(40), nullable=False, index=True),
        sa.Column("device", sa.String(8)),
        sa.Column("task_kind", sa.String(40)),
        sa.Column("priority", sa.Integer),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("at_unix_s", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("corrections")
