"""Keep over restarts what loading models really took, so that estimates need not be learned anew.

The newest observations of each backend and precision are kept, as `Corrections` bounds them, in one small document that is
written after each load. One that cannot be used is set aside and told by the log: estimates begin without it.

Not covered: a load in the moment before the server is killed.
"""

import asyncio
from typing import Any, Final

import structlog

from conductor.adapters.document_folder import DocumentFolder
from conductor.domain.errors import StorageError
from conductor.domain.model import ModelState, Precision
from conductor.serving.lifetimes.memory_budget import Corrections, Observation
from conductor.serving.registry import StateChange

_NAME: Final = "memory"
#: More than all backends and precisions have together.
_MOST: Final = 2_000

log = structlog.get_logger(__name__)


class KeptCorrections:
    """The corrections of this installation. `run` must be running as a task of the owner.

    Attributes:
        corrections: what was learned, now and earlier.
    """

    def __init__(self, folder: DocumentFolder) -> None:
        """Blocking: reads what is kept."""
        self._folder = folder
        self._learned = asyncio.Event()
        self.corrections = Corrections(self._kept())

    def on_change(self, change: StateChange) -> None:
        """Listener for `Registry`: a model that is in memory now has taught something."""
        if change.record.state is ModelState.LOADED:
            self._learned.set()

    async def run(self) -> None:
        """Write what is learned, until cancelled."""
        while True:
            await self._learned.wait()
            self._learned.clear()
            rows = [
                [backend, precision.value, seen.loaded_bytes, seen.total_bytes, seen.measured_bytes]
                for backend, precision, seen in self.corrections.observations()
            ]
            try:
                await asyncio.to_thread(self._folder.write, _NAME, {"observations": rows})
            except StorageError as failure:
                log.warning("corrections_not_kept", reason=failure.message)

    def _kept(self) -> list[tuple[str, Precision, Observation]]:
        try:
            document = self._folder.read(_NAME)
            return [] if document is None else [_observation(row) for row in document["observations"][-_MOST:]]
        except (StorageError, KeyError, TypeError, ValueError) as broken:
            aside = self._folder.set_aside(_NAME)
            log.warning("corrections_set_aside", reason=f"{type(broken).__name__}: {broken}", file=aside)
            return []


def _observation(row: Any) -> tuple[str, Precision, Observation]:
    backend, precision, *figures = row
    loaded_bytes, total_bytes, measured_bytes = figures
    if not isinstance(backend, str) or not all(type(figure) is int and figure > 0 for figure in figures):
        raise ValueError(f"{row} is no observation")
    return backend, Precision(precision), Observation(loaded_bytes, total_bytes, measured_bytes)
