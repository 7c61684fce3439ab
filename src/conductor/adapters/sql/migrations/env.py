"""Alembic's entry: runs on the connection that `Database.open` hands over, or on `-x url=…` from the command line."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection

from conductor.adapters.sql.schema import metadata


def run(connection: Connection) -> None:
    """Apply what is missing in one transaction."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).connect() as connection:
        run(connection)
