"""Look into the database and the ledger file of an installation for what decides there; reads only, also beside its server.

Apart from `mind_at_rest`, so that SQL is loaded only where there is a database.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from conductor.adapters.ledger_file import read_lines
from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.records import SqlOutbox, SqlSettings
from conductor.app.installation import Installation
from conductor.app.ledgering import checksum_in
from conductor.app.minds.chosen import Recorded, nothing_recorded
from conductor.app.settings.load import database_url
from conductor.app.settings.model import Settings
from conductor.domain.errors import StorageError
from conductor.ledger.entry import parse_entry


@contextlib.asynccontextmanager
async def stored_facts(installation: Installation) -> AsyncIterator[tuple[Settings, Recorded]]:
    """The settings in effect, and what the ledger says of models, to be asked within the block.

    Raises:
        SettingsError: a stored setting is impossible.
        StorageError: the database cannot be read.
    """
    database = await Database.look(database_url(installation.settings))
    if database is None:
        yield installation.settings, nothing_recorded
        return
    try:
        settings = installation.load(await SqlSettings(database).all()).settings
        # A committer that is never run writes nothing.
        outbox = SqlOutbox(database, GroupCommitter(database, patience_s=0.0))
        yield settings, partial(_recorded, installation, outbox)
    finally:
        await database.close()


async def _recorded(installation: Installation, outbox: SqlOutbox, name: str) -> str | None:
    """See `Recorded`: the database knows which entry was the last about a model, it or the ledger file what that says."""
    index = (await outbox.entries_about(name)).get("model")
    if index is None:
        return None
    for line in await outbox.waiting():
        if (entry := parse_entry(line)).index == index:
            return checksum_in(entry)
    for _, line in read_lines(installation.paths.ledger):
        if b'"kind":"model"' in line and (entry := parse_entry(line.rstrip(b"\n"))).index == index:
            return checksum_in(entry)
    raise StorageError(f"{installation.paths.ledger} lacks entry {index}, which the database knows; restore a backup")
