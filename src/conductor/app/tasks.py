"""The use cases about tasks: submit, decide, wait, watch, cancel, list, explain.

A submission takes one road: validate, read it (encoder, off the loop), decide, queue, record; all transitions up to
`queued` are durable before the caller hears that it was accepted. What happens afterwards is the dispatcher's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.documents import encode
from conductor.app.live import LiveView, Watch
from conductor.decisions.analyse import Analysis
from conductor.decisions.attached import texts_to_read
from conductor.decisions.ports import ExperienceStore
from conductor.decisions.recommend import DecisionMaker
from conductor.domain.clock import Clock
from conductor.domain.decision import Decision
from conductor.domain.errors import Conflict, InvalidInput, NotFound
from conductor.domain.event import TaskEvent
from conductor.domain.identifiers import RANDOM_BITS
from conductor.domain.identifiers import task_id as new_task_id
from conductor.domain.task import Submission, Task, TaskId, TaskState, UserId
from conductor.domain.workload import WorkProfile
from conductor.scheduling.dispatch import Dispatcher
from conductor.scheduling.pending import Pending
from conductor.scheduling.ports import Executor, TaskArchive, TaskFilter
from conductor.scheduling.transitions import Transitions

#: Whose key, and the key.
_Key = tuple[UserId, str]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A submission whose workload was validated, with what the estimator may know about it."""

    submission: Submission
    profile: WorkProfile | None


class Tasks:
    """Every use case about tasks; safe to call from many coroutines of one loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        random_bits: Callable[[int], int],
        maker: DecisionMaker,
        executor: Executor,
        transitions: Transitions,
        dispatcher: Dispatcher,
        archive: TaskArchive,
        committer: GroupCommitter,
        live: LiveView,
        experiences: ExperienceStore,
    ) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._maker = maker
        self._executor = executor
        self._transitions = transitions
        self._dispatcher = dispatcher
        self._archive = archive
        self._committer = committer
        self._live = live
        self._experiences = experiences
        transitions.listen(self._on_queued, (TaskState.QUEUED,))
        self._profiles: dict[TaskId, WorkProfile] = {}
        #: Keys of tasks that are accepted but not durable yet, and so not in the archive.
        self._keys: dict[_Key, Task] = {}
        #: Keys of submissions under way; done when the next one under the same key may go on.
        self._held: dict[_Key, asyncio.Future[None]] = {}
        self._last: TaskId | None = None

    async def submit(self, submission: Submission) -> Task:
        """Accept one task; returns it, decided and (with a workload) queued, once that is durable.

        Raises:
            InvalidInput: the description or the workload cannot be used; names the field.
            Conflict: the idempotency key was used for something else.
            Exhausted: no node could ever hold the slice asked for.
            Overloaded: the queue is full; says when to come again.
            StorageError: the database fails.
        """
        return (await self.submit_many([submission]))[0]

    async def submit_many(self, submissions: Sequence[Submission]) -> list[Task]:
        """Accept several tasks with one reading of all texts and one commit; see `submit`."""
        self._committer.check_healthy()
        self._dispatcher.check_room(len(submissions))
        checked = [await self._check(submission) for submission in submissions]
        async with self._holding(filter(None, (_key(submission) for submission in submissions))):
            known = [await self._known(item.submission) for item in checked]
            analyses = await self._read(texts_to_read([item.submission for item in checked]))
            tasks = [
                earlier or self._accept(item, analysis)
                for earlier, item, analysis in zip(known, checked, analyses[: len(checked)], strict=True)
            ]
        await self._committer.wait_durable("the submission")
        for submission in submissions:
            if key := _key(submission):
                self._keys.pop(key, None)  # the archive knows it from now on
        return [self._transitions.known(task.task_id) or task for task in tasks]

    async def wait(self, task_id: TaskId, *, timeout_s: float | None = None) -> Task:
        """The task once it is settled and its end is durable.

        Raises:
            TimeoutError: it is not settled after `timeout_s`.
        """
        return (await self.wait_many([task_id], timeout_s=timeout_s))[0]

    async def wait_many(self, task_ids: Sequence[TaskId], *, timeout_s: float | None = None) -> list[Task]:
        """Several tasks, in the order asked for, once all are settled and durable; cheaper than waiting for each.

        Raises:
            TimeoutError: one is not settled after `timeout_s`.
        """
        async with asyncio.timeout(timeout_s):
            ends = [self._live.end_of(task_id) for task_id in task_ids if self._transitions.live(task_id) is not None]
            if ends:
                await asyncio.wait(ends)  # unlike gathering, a cancelled caller leaves the others' futures alone
            await self._committer.wait_durable("the end of a task")
        return [await self.get(task_id) for task_id in task_ids]

    async def get(self, task_id: TaskId) -> Task:
        """One task as it stands now; `last` names the task submitted last."""
        task_id = await self._resolve(task_id)
        return self._transitions.known(task_id) or await self._archive.get(task_id)

    async def get_exact(self, task_id: str) -> Task:
        """One task by nothing but its id, as it stands now.

        Raises:
            NotFound: there is none.
        """
        found = self._transitions.known(TaskId(task_id))
        return found or await self._archive.get(TaskId(task_id))

    async def preview(self, submission: Submission) -> Decision:
        """The decision that this submission would get now; nothing is recorded, queued or learned.

        Raises:
            InvalidInput: the description or the workload cannot be used; names the field.
            Exhausted: no node could ever hold the slice asked for.
        """
        checked = await self._check(submission)
        analysis = (await self._read(texts_to_read([checked.submission])))[0]
        decision = self._maker.conclude("preview", checked.submission, analysis, checked.profile)
        if submission.workload is not None:
            self._dispatcher.check_admissible(submission.workload)
        return decision

    async def list(
        self,
        *,
        states: frozenset[TaskState] | None = None,
        user_id: UserId | None = None,
        text: str | None = None,
        before: TaskId | None = None,
        limit: int = 50,
    ) -> Sequence[Task]:
        """Tasks, newest first, as they stand now; `text` is part of a description, `before` continues a listing."""
        wanted = TaskFilter(states=states, user_id=user_id, text=text, before=before, limit=limit)
        return [self._transitions.known(task.task_id) or task for task in await self._archive.list(wanted)]

    async def repeat(self, task: Task) -> Task:
        """Submit the same work again as a new task.

        Raises:
            Conflict: the task is still on its road.
        """
        if not task.is_settled:
            raise Conflict(
                f"task {task.task_id} is {task.state}; cancel it first, or wait for its end", field="task_id"
            )
        metadata = {**task.submission.metadata, "repeats": task.task_id}
        return await self.submit(replace(task.submission, metadata=metadata, idempotency_key=None))

    async def events(self, task_id: TaskId) -> Sequence[TaskEvent]:
        """All transitions of a task so far, oldest first; they are durable when this returns."""
        task_id = (await self.get(task_id)).task_id
        await self._committer.wait_durable(f"the events of {task_id}")
        return await self._archive.events(task_id)

    def watching(self, task_id: TaskId) -> AbstractContextManager[Watch]:
        """Transitions and output of a task from now on; the watch ends when the task is settled."""
        return self._live.watching(task_id)

    async def cancel(self, task_id: TaskId, *, reason: str) -> Task:
        """End a task at any state; returns it cancelled (or as it ended, when that came first).

        Raises:
            Conflict: it is settled already.
        """
        task = await self.get(task_id)
        if task.is_settled:
            raise Conflict(
                f"task {task.task_id} is {task.state} already and cannot be cancelled",
                field="task_id",
                details={"task_id": task.task_id, "state": task.state},
            )
        waiting: Task | None = task
        while waiting is not None:  # an attempt that fails in this very moment goes back into the queue
            await self._dispatcher.cancel(waiting, reason=reason)
            waiting = self._transitions.live(task.task_id)
        return await self.wait(task.task_id)

    async def recover(self) -> int:
        """Take up what an earlier run left unfinished; returns how many tasks.

        Attempts that were running when the server died are repeated and do not count as retries.
        """
        unfinished = await self._archive.unsettled()
        attempts = await self._experiences.unsettled_attempts()
        for task in unfinished:
            if task.state is TaskState.RUNNING:
                task = replace(task, attempt=task.attempt - 1)  # the same attempt begins again
            self._transitions.resume(task)
            workload = task.submission.workload
            if workload is not None and not self._executor.is_inline_kind(workload.kind):
                with contextlib.suppress(InvalidInput):  # its plug-in was taken out; the attempt will say so
                    profile = self._profiles[task.task_id] = self._executor.profile(workload.kind, workload.spec)
                    self._maker.restore_attempts(task, attempts.get(task.task_id, ()), profile)
            if task.state in (TaskState.PLACED, TaskState.RUNNING):
                task, _ = self._transitions.move(
                    task, TaskState.QUEUED, detail={"reason": "the server stopped during the attempt"}
                )
            elif task.state is TaskState.DECIDED:
                task, _ = self._transitions.move(task, TaskState.QUEUED)
            self._dispatcher.enqueue(task)
        return len(unfinished)

    def pending_because(self, task: Task) -> Pending | None:
        """Why a queued task does not run yet; None for a task in any other state."""
        return self._dispatcher.pending_because(task) if task.state is TaskState.QUEUED else None

    def on_transition(self, task: Task, event: TaskEvent) -> None:
        """Listener for `Transitions`: every final outcome teaches the decision maker.

        Trivial in-process work has no profile and teaches nothing: it says nothing about a device.
        """
        if task.is_settled:
            profile = self._profiles.pop(task.task_id, None)
            if profile is not None and task.outcome is not None and task.state is not TaskState.CANCELLED:
                experience = self._maker.learn(task, task.outcome, profile)
                if experience is not None:
                    self._experiences.remember(experience)

    def _on_queued(self, task: Task, event: TaskEvent) -> None:
        """An attempt that failed and is to be repeated teaches the decision maker something about its node.

        Only then does the event tell an ending: a task is queued too when it is new, or when the server stopped during
        an attempt, and then it may still carry the outcome of an earlier one.
        """
        profile = self._profiles.get(task.task_id)
        if "ending" in event.detail and profile is not None and task.outcome is not None:
            self._maker.learn_attempt(task, task.outcome, profile)

    async def _check(self, submission: Submission) -> _Checked:
        workload = submission.workload
        if workload is None:
            return _Checked(submission, None)
        if self._executor.is_inline_kind(workload.kind):
            spec = self._executor.check(workload.kind, workload.spec)
        else:  # looks at files
            spec = await asyncio.to_thread(self._executor.check, workload.kind, workload.spec)
        if spec is not workload.spec:
            submission = replace(submission, workload=replace(workload, spec=spec))
        return _Checked(submission, self._executor.profile(workload.kind, spec))

    async def _read(self, texts: Sequence[str]) -> Sequence[Analysis]:
        """The analysis of each text; off the loop unless all were read before."""
        known = [self._maker.known(text) for text in texts]
        if all(analysis is not None for analysis in known):
            return [analysis for analysis in known if analysis is not None]
        return await asyncio.to_thread(self._maker.prepare, texts)

    async def _known(self, submission: Submission) -> Task | None:
        """The task that this user submitted earlier under the same idempotency key."""
        key = _key(submission)
        if key is None:
            return None
        earlier = self._keys.get(key)
        if earlier is None:
            task_id = await self._archive.with_key(*key)
            earlier = None if task_id is None else await self.get(task_id)
        return None if earlier is None else _same(earlier, submission)

    @contextlib.asynccontextmanager
    async def _holding(self, wanted: Iterable[_Key]) -> AsyncIterator[None]:
        """Let submissions under one key pass one after another, so that each finds what those before it made."""
        keys = set(wanted)
        while busy := [self._held[key] for key in keys if key in self._held]:
            await asyncio.wait(busy)
        passed = asyncio.get_running_loop().create_future()
        self._held.update(dict.fromkeys(keys, passed))
        try:
            yield
        finally:
            for key in keys:
                del self._held[key]
            passed.set_result(None)

    def _accept(self, item: _Checked, analysis: Analysis) -> Task:
        """Decide and queue one task; everything here happens in one step of the loop."""
        submission, key = item.submission, _key(item.submission)
        if key is not None and key in self._keys:
            return _same(self._keys[key], submission)  # the same key stands twice in one list
        now = self._clock.now_unix_s()
        task = Task(
            task_id=new_task_id(int(now * 1000), self._random_bits(RANDOM_BITS)),
            submission=submission,
            state=TaskState.SUBMITTED,
            submitted_at_unix_s=now,
            updated_at_unix_s=now,
        )
        decision = self._maker.conclude(task.task_id, submission, analysis, item.profile)
        if submission.workload is not None:
            self._dispatcher.check_admissible(submission.workload)
        self._transitions.begin(task)
        task, _ = self._transitions.move(task, TaskState.DECIDED, decision=decision)
        if submission.workload is not None:
            task, _ = self._transitions.move(task, TaskState.QUEUED)
            self._dispatcher.enqueue(task)
            if item.profile is not None and not self._executor.is_inline_kind(submission.workload.kind):
                self._profiles[task.task_id] = item.profile
        if key is not None:
            self._keys[key] = task
        self._last = task.task_id
        return task

    async def _resolve(self, task_id: TaskId) -> TaskId:
        if task_id != "last":
            return task_id
        if self._last is None:
            newest = await self._archive.list(TaskFilter(limit=1))
            if not newest:
                raise NotFound("there are no tasks yet; `conductor run` submits one", field="task_id")
            self._last = newest[0].task_id
        return self._last


def _key(submission: Submission) -> _Key | None:
    return None if submission.idempotency_key is None else (submission.user_id, submission.idempotency_key)


def _same(earlier: Task, submission: Submission) -> Task:
    """The earlier task under a key, if it asked for the same."""
    if encode(earlier.submission) != encode(submission):
        raise Conflict(
            f"idempotency key {submission.idempotency_key!r} belongs to task {earlier.task_id}, which asked for "
            "something else; use a new key for a new request",
            field="idempotency_key",
            details={"task_id": earlier.task_id},
        )
    return earlier
