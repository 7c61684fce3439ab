"""The use case behind `conductor mind report`: how good past decisions were, from stored experience."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conductor.adapters.plots import draw_report
from conductor.adapters.sql.committer import GroupCommitter
from conductor.decisions.ports import ExperienceStore
from conductor.decisions.report import report
from conductor.domain.clock import Clock
from conductor.domain.json import JsonObject


class MindHistory:
    """Past decisions and what came of them.

    Args:
        experiences: where outcomes are stored.
        committer: writes them behind.
        limit: of how many outcomes, the latest, is told.
    """

    def __init__(self, experiences: ExperienceStore, committer: GroupCommitter, clock: Clock, *, limit: int) -> None:
        self._experiences = experiences
        self._committer = committer
        self._clock = clock
        self._limit = limit

    async def report(self, since_s: float | None = None) -> JsonObject:
        """`MindReport` as plain JSON: calibration, accuracy and regret over the last `since_s` seconds, or all time.

        Raises:
            StorageError: the database fails.
        """
        await self._committer.wait_durable("past outcomes")
        past = list(await self._experiences.recall(self._limit))
        since_unix_s = 0.0 if since_s is None else self._clock.now_unix_s() - since_s
        found = await asyncio.to_thread(report, past, since_unix_s=since_unix_s)
        return found.as_json()


def save_plots(report_json: Mapping[str, Any], folder: Path, *, dark: bool = False) -> list[Path]:
    """Draw a report into PNG files; see `adapters.plots.draw_report`.

    Raises:
        InvalidInput: matplotlib is not installed, or the folder cannot be written.
    """
    return draw_report(report_json, folder, dark=dark)
