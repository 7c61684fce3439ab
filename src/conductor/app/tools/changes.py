"""Follow tasks: say each time one of them changes its state, until none can change any more."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack

from conductor.app.live import Watch
from conductor.app.tasks import Tasks
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.event import TaskEvent
from conductor.domain.task import TaskId


class TaskChanges:
    """Changes of the tasks of an installation."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def follow(
        self, wanted: Mapping[str, str], begun: Callable[[Collection[str]], None], changed: Callable[[str], None]
    ) -> None:
        """Follow tasks until all of them are settled.

        Args:
            wanted: ids of tasks, by the names under which they are told.
            begun: told once which of them are followed, unknown ones left out; nothing is missed from then on.
            changed: told the name of a task each time it has changed.
        """
        with ExitStack() as watches:
            known, following = [], {}
            for name, task_id in wanted.items():
                try:
                    task = await self._tasks.get(TaskId(task_id))
                except (NotFound, InvalidInput):
                    continue
                known.append(name)
                watch = watches.enter_context(self._tasks.watching(task.task_id))
                if not (await self._tasks.get(task.task_id)).is_settled:
                    following[name] = watch
            begun(known)
            async with asyncio.TaskGroup() as group:
                for name, watch in following.items():
                    group.create_task(_tell(watch, name, changed))


async def _tell(watch: Watch, name: str, changed: Callable[[str], None]) -> None:
    async for item in watch:
        if isinstance(item, TaskEvent):
            changed(name)
