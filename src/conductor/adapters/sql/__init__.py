"""Everything kept in SQL: SQLite (WAL) on one machine, PostgreSQL when it outgrows that; the same code on both."""
