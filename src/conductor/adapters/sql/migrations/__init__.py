"""Alembic migrations; `HEAD` is the revision that `schema` describes."""

HEAD = "0002"
