"""Find the attempts that failed and were to be repeated, in the transitions of their tasks.

Nothing is stored for this: a task that goes back to the queue with an ending ended an attempt on the node that it was placed
on before. One that goes back without an ending was interrupted by the end of the server, and that failed nobody.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from conductor.adapters.sql.schema import events, tasks
from conductor.decisions.ports import FailedAttempt
from conductor.domain.task import TaskState


async def failed_attempts(
    connection: AsyncConnection, *of_tasks: ColumnElement[bool]
) -> Mapping[str, Sequence[FailedAttempt]]:
    """Failed attempts, oldest first, by the ids of the tasks that meet all conditions and have any."""
    query = (
        select(events.c.task_id, events.c.state, events.c.at_unix_s, events.c.detail)
        .join(tasks, tasks.c.task_id == events.c.task_id)
        .where(events.c.state.in_([TaskState.PLACED.value, TaskState.QUEUED.value]), *of_tasks)
        .order_by(events.c.seq)
    )
    found: dict[str, list[FailedAttempt]] = defaultdict(list)
    node_of: dict[str, str] = {}
    for task_id, state, at_unix_s, detail in (await connection.execute(query)).all():
        told = orjson.loads(detail) if detail else {}
        if state == TaskState.PLACED.value:
            node_of[task_id] = str(told.get("node", ""))
        elif "ending" in told and task_id in node_of:
            found[task_id].append(FailedAttempt(node_id=node_of[task_id], at_unix_s=at_unix_s))
    return found
