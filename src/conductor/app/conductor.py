"""The product as one object: the Python API, and what every face talks to.

`Conductor.open()` composes it for this machine and keeps it running for the duration of an `async with` block; faces
receive it opened. Everything about tasks is in `tasks`, about the record in `ledger`.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conductor import __version__
from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.workloads.registry import WorkloadRegistry
from conductor.app.access import Access
from conductor.app.attachments import Attachments
from conductor.app.configuration import Configuration
from conductor.app.correcting import Correcting
from conductor.app.ledger_desk import LedgerDesk
from conductor.app.metrics import Metrics
from conductor.app.mind_report import MindHistory
from conductor.app.minds import ActiveModels
from conductor.app.talk import Talk
from conductor.app.tasks import Tasks
from conductor.app.tuning import Tuning
from conductor.decisions.explain import explain
from conductor.domain.clock import Clock
from conductor.domain.decision import Decision
from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.node import NodeId
from conductor.domain.task import LOCAL_USER, Submission, Task, TaskId, UserId
from conductor.domain.workload import Limits, Workload
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.roster import Member, Roster
from conductor.scheduling.dispatch import Dispatcher
from conductor.scheduling.place import PlacementTable


class Conductor:
    """One running installation."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        clock: Clock,
        access: Access,
        tasks: Tasks,
        ledger: LedgerDesk,
        models: ActiveModels,
        metrics: Metrics,
        dispatcher: Dispatcher,
        committer: GroupCommitter,
        registry: WorkloadRegistry,
        roster: Roster,
        performance: PerformanceBook,
        placement: PlacementTable,
        tasks_folder: Path,
        talk: Talk,
        tuning: Tuning,
        correcting: Correcting,
        mind_history: MindHistory,
        attachments: Attachments,
    ) -> None:
        self.configuration = configuration
        self.access = access
        self.tasks = tasks
        self.ledger = ledger
        self.models = models
        self.metrics = metrics
        self.talk = talk
        self.tuning = tuning
        self.correcting = correcting
        self.mind_history = mind_history
        self.attachments = attachments
        self._clock = clock
        self._dispatcher = dispatcher
        self._committer = committer
        self._registry = registry
        self._roster = roster
        self._performance = performance
        self._placement = placement
        self._tasks_folder = tasks_folder
        self._started_at_s = clock.monotonic_s()

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(
        data_dir: str | Path | None = None,
        *,
        settings: Mapping[str, JsonValue] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> "AsyncIterator[Conductor]":
        """Run an installation inside this process.

        Args:
            data_dir: its folder; the user's own by default.
            settings: values by dotted name that win over every other source, such as `{"queue.depth": 5000}`.
            environ: environment variables to read settings from; none by default.

        Raises:
            Conflict: another process uses the folder.
            SettingsError: a setting is unknown or impossible.
            StorageError: the database cannot be opened.
            LedgerError: the ledger does not belong to the database, or is damaged.
        """
        from conductor.adapters.logs import join_host_logs
        from conductor.app.compose import running
        from conductor.app.installation import Installation

        join_host_logs()
        installation = Installation.find(data_dir=data_dir, environ=environ or {}, overrides=settings)
        async with running(installation) as conductor:
            yield conductor

    async def conduct_task(
        self,
        description: str,
        *,
        metadata: JsonObject | None = None,
        user_id: str = LOCAL_USER,
        workload: Workload | None = None,
        attachments: Sequence[str | Path] = (),
    ) -> Decision:
        """Decide about a task in plain words; with a workload it also runs (`tasks.wait` awaits its end).

        Args:
            attachments: files of this machine that the task carries.
        """
        user = UserId(user_id)
        submission = Submission(
            description=description,
            workload=workload,
            metadata=metadata or {},
            user_id=user,
            attachments=tuple([await self.attachments.add_file(Path(path), user_id=user) for path in attachments]),
        )
        return _decision(await self.tasks.submit(submission))

    async def query(self, text: str) -> str:
        """Answer a question about the installation from what is measured; every number in the answer is among that.

        Nothing is executed: a conversation, in which plans can be confirmed, is `talk.say`.

        Raises:
            InvalidInput: the text is empty, too long or no text.
        """
        return (await self.talk.say(text)).text

    async def explain_decision(self, task_id: str) -> str:
        """The full breakdown of a decision as text; `explanation` has it in sections."""
        return str((await self.explanation(TaskId(task_id)))["text"])

    async def explanation(self, task_id: TaskId) -> dict[str, Any]:
        """The full breakdown of a decision: sections by title, and the whole as text."""
        task = await self.tasks.get(task_id)
        found = explain(_decision(task), task.outcome)
        return dict(found.as_json()) | {"text": found.text()}

    async def decision_of(self, task_id: TaskId) -> Decision:
        """The decision about a task."""
        return _decision(await self.tasks.get(task_id))

    def default_limits(self) -> Limits:
        """The slice of a task that asks for none, as set now."""
        return Limits(**self.configuration.settings.limits.model_dump())

    def nodes(self) -> list[dict[str, Any]]:
        """Every machine with devices, latest reading and performance score."""
        return [self._view(member) for member in self._roster.members()]

    def node(self, node_id: str) -> dict[str, Any]:
        """One machine.

        Raises:
            NotFound: there is none with this id.
        """
        return self._view(self._roster.member(NodeId(node_id)))

    def output_file(self, task_id: TaskId, stream: str) -> Path | None:
        """The file of what a task printed on `stdout` or `stderr`; None when it printed nothing there."""
        path = self._tasks_folder / task_id / stream
        return path if stream in ("stdout", "stderr") and path.is_file() else None

    def allowed_hosts(self) -> frozenset[str]:
        """Host names the server answers for besides its own."""
        return frozenset(self.configuration.settings.server.allowed_hosts)

    def allowed_origins(self) -> frozenset[str]:
        """Origins of web pages that may call, besides the server's own."""
        return frozenset(self.configuration.settings.server.allowed_origins)

    def health(self) -> dict[str, Any]:
        """Whether everything works, and what does not."""
        problems = [f"database: {failure}" for failure in [self._committer.failure] if failure]
        problems += [f"ledger: {trouble}" for trouble in [self.ledger.trouble] if trouble]
        problems += [trouble for trouble in [self.tuning.problem, self.models.problem] if trouble]
        problems += [f"workload {name}: {reason}" for name, reason in self._registry.broken.items()]
        return {
            "status": "failing" if self._committer.failure or self.ledger.trouble else "ok",
            "version": __version__,
            "uptime_s": self._clock.monotonic_s() - self._started_at_s,
            "tasks_waiting": self._dispatcher.waiting,
            "tasks_running": self._dispatcher.running,
            "problems": problems,
        }

    def _view(self, member: Member) -> dict[str, Any]:
        node, parts = member.node, self._performance.parts(member.node_id)
        devices = [asdict(device) | {"capabilities": sorted(device.capabilities)} for device in node.devices]
        return asdict(node) | {
            "devices": devices,
            "reading": None if member.reading is None else asdict(member.reading),
            "performance": {"score": parts.score, "parts": asdict(parts)},
        }


def _decision(task: Task) -> Decision:
    if task.decision is None:
        raise NotFound(f"task {task.task_id} was not decided: it is {task.state}", field="task_id")
    return task.decision
