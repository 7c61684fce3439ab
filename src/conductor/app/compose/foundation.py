"""Lay the foundation: the data folder (claimed for this process), the database, and the settings in effect."""

import asyncio
import contextlib
from dataclasses import dataclass

from conductor.adapters.clock import SystemClock
from conductor.adapters.data_folder import DataFolder
from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.database import Database
from conductor.adapters.sql.records import SqlSettings
from conductor.adapters.watched_files import file_changes
from conductor.app.configuration import Configuration
from conductor.app.installation import Installation
from conductor.app.settings.load import database_url
from conductor.app.settings.model import Settings
from conductor.domain.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What everything else stands on.

    Args:
        settings: as they were at the start; those that change while running are asked of `configuration`.
        committer: writes to the database while `background` runs it.
    """

    installation: Installation
    folder: DataFolder
    database: Database
    clock: Clock
    configuration: Configuration
    settings: Settings
    committer: GroupCommitter


async def lay_foundation(installation: Installation, undo: contextlib.AsyncExitStack) -> Foundation:
    """Claim the folder and open the database; `undo` closes both.

    Raises:
        Conflict: another process uses the installation.
        SettingsError, StorageError: it cannot be opened; the message says why and what to do.
    """
    folder = await asyncio.to_thread(DataFolder.open, installation.data_dir, user_id=installation.around.user_id)
    undo.callback(folder.close)
    database = await Database.open(database_url(installation.settings))
    undo.push_async_callback(database.close)
    clock, stored = SystemClock(), SqlSettings(database)
    configuration = Configuration(installation, stored, await stored.all(), clock=clock, file_changes=file_changes)
    settings = configuration.settings
    return Foundation(
        installation=installation,
        folder=folder,
        database=database,
        clock=clock,
        configuration=configuration,
        settings=settings,
        committer=GroupCommitter(database, patience_s=settings.storage.patience_s),
    )
