"""What goes on by itself while the product runs: its order of beginning, its one parent, and its ordered end."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import structlog

from conductor.app.compose.parts import Parts
from conductor.app.conductor import Conductor
from conductor.scheduling.dispatch import Dispatcher

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def at_work(parts: Parts, conductor: Conductor, *, dispatch: bool) -> AsyncIterator[None]:
    """Take up unfinished tasks and go on; at the end no new work, running work drained, entries sealed, rows written."""
    foundation, keeper, dispatcher = parts.foundation, parts.record.keeper, parts.execution.dispatcher
    async with asyncio.TaskGroup() as group:
        committing = group.create_task(foundation.committer.run(), name="committer")
        sealing = group.create_task(keeper.run(), name="ledger keeper")
        recovered = await conductor.tasks.recover()
        dispatching = group.create_task(dispatcher.run() if dispatch else _nothing(), name="dispatcher")
        group.create_task(parts.serving.lifetimes.run() if dispatch else _nothing(), name="model lifetimes")
        telling = group.create_task(parts.serving.journal.run(), name="call journal")
        helpers = _helpers(parts, group)
        gc.freeze()  # what lives as long as the product need not be looked at by every collection
        log.info(
            "started",
            node=parts.fleet.home.node_id,
            recovered_tasks=recovered,
            data_dir=str(foundation.folder.paths.root),
        )
        try:
            yield
        finally:
            await asyncio.gather(
                _drain(dispatcher, dispatching, foundation.configuration.settings.executor.drain_s),
                parts.serving.lifetimes.close(),
            )
            parts.serving.journal.close()
            await asyncio.wait([telling])
            parts.serving.relayed.flush()
            parts.serving.entries.flush()
            for helper in helpers:
                helper.cancel()
            keeper.close()
            # what is not sealed by then, the next start seals
            await asyncio.wait([sealing], timeout=foundation.settings.storage.patience_s)
            foundation.committer.close()  # where the database fails for good, this is what ends the wait of all others
            await asyncio.wait([committing])
            parts.execution.processes.close()
            gc.unfreeze()
            log.info("stopped")


def _helpers(parts: Parts, group: asyncio.TaskGroup) -> list["asyncio.Task[None]"]:
    """What may be broken off at any moment."""
    minds, serving = parts.minds, parts.serving
    return [
        group.create_task(parts.fleet.watch.run(), name="machine watch"),
        group.create_task(parts.foundation.configuration.watch(), name="settings watch"),
        group.create_task(minds.tuning.run(), name="tuning"),
        group.create_task(parts.execution.attachments.run(), name="attachment sweep"),
        group.create_task(minds.models.load(minds.language_model), name="language model"),
        group.create_task(serving.table.watch(), name="model table watch"),
        group.create_task(serving.batches.run(), name="batches"),
        group.create_task(serving.files.run(), name="file sweep"),
        group.create_task(serving.learned.run(), name="corrections"),
        group.create_task(serving.relayed.run(), name="groups of relayed calls"),
        group.create_task(serving.entries.run(), name="sums of relayed calls"),
        group.create_task(serving.cache.run() if serving.cache else _nothing(), name="answers kept on disk"),
    ]


async def _nothing() -> None:
    """What the dispatcher does in an installation that is only looked at."""


async def _drain(dispatcher: Dispatcher, dispatching: "asyncio.Task[None]", drain_s: float) -> None:
    """Start nothing more, let what runs end for a while, then end it; the next start repeats what was cut off."""
    dispatcher.close()
    done, _ = await asyncio.wait([dispatching], timeout=drain_s)
    if not done:
        log.warning("drain_ended", still_running=dispatcher.running)
        dispatcher.abandon()
        await asyncio.wait([dispatching])
