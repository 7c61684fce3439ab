"""Open the ledger and take up what an earlier run recorded but did not seal."""

import asyncio
import contextlib
from dataclasses import asdict, dataclass

import structlog

from conductor.adapters.ledger_file import DiskLedgerFile
from conductor.adapters.schnorr import SchnorrSigner, schnorr_check
from conductor.adapters.sql.records import SqlOutbox
from conductor.app.compose.foundation import Foundation
from conductor.app.ledgering import LedgerKeeper
from conductor.ledger.chain import Ledger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The ledger's keeper, and the entries in the database that are or will be sealed."""

    keeper: LedgerKeeper
    outbox: SqlOutbox


async def open_record(foundation: Foundation, undo: contextlib.AsyncExitStack) -> Record:
    """Open the ledger file, which `undo` closes, and bring it level with the database.

    Raises:
        LedgerError: it is damaged, or does not belong to the database.
    """
    file = await asyncio.to_thread(DiskLedgerFile.open, foundation.folder.paths.ledger)
    undo.callback(file.close)
    ledger = await asyncio.to_thread(_ledger, file, foundation)
    if ledger.torn_tail is not None:
        log.warning("ledger_end_set_aside", **asdict(ledger.torn_tail))
    outbox = SqlOutbox(foundation.database, foundation.committer)
    keeper = LedgerKeeper(
        ledger,
        outbox=outbox,
        committer=foundation.committer,
        block_entries=foundation.settings.ledger.block_entries,
        block_interval_s=foundation.settings.ledger.block_interval_s,
    )
    await keeper.recover()
    return Record(keeper=keeper, outbox=outbox)


def _ledger(file: DiskLedgerFile, foundation: Foundation) -> Ledger:
    signer = SchnorrSigner.from_file(foundation.settings.ledger.key_file or foundation.folder.paths.ledger_key)
    return Ledger.open(file, signer, foundation.clock, check=schnorr_check)
