"""The product as one object: the Python API, and what every face talks to.

`Conductor.open()` composes it for this machine and keeps it running for the duration of an `async with` block; faces
receive it opened. Everything about tasks is in `tasks`, about the record in `ledger`.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conductor.app.access import Access
from conductor.app.attachments import Attachments
from conductor.app.configuration import Configuration
from conductor.app.correcting import Correcting
from conductor.app.ledger_desk import LedgerDesk
from conductor.app.metrics import Metrics
from conductor.app.minds.active import ActiveModels
from conductor.app.minds.report import MindHistory
from conductor.app.minds.tuning import Tuning
from conductor.app.serving.batches import Batches
from conductor.app.serving.files import ServingFiles
from conductor.app.serving.gateway import Gateway
from conductor.app.serving.serve import Serving
from conductor.app.talk import Talk
from conductor.app.tasks import Tasks
from conductor.app.vitals import Vitals
from conductor.decisions.explain import explain
from conductor.domain.decision import Decision
from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.node import NodeId
from conductor.domain.task import LOCAL_USER, Submission, Task, TaskId, UserId
from conductor.domain.workload import Limits, Workload
from conductor.fleet.performance import PerformanceBook
from conductor.fleet.roster import Member, Roster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Conductor:
    """One running installation; `Conductor.open` makes one."""

    configuration: Configuration
    access: Access
    tasks: Tasks
    ledger: LedgerDesk
    models: ActiveModels
    metrics: Metrics
    talk: Talk
    tuning: Tuning
    correcting: Correcting
    mind_history: MindHistory
    attachments: Attachments
    serving: Serving
    gateway: Gateway
    files: ServingFiles
    batches: Batches
    # What only the methods below answer from.
    vitals: Vitals
    roster: Roster
    performance: PerformanceBook
    tasks_folder: Path

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
        return self.configuration.default_limits()

    def nodes(self) -> list[dict[str, Any]]:
        """Every machine with devices, latest reading and performance score."""
        return [self._view(member) for member in self.roster.members()]

    def node(self, node_id: str) -> dict[str, Any]:
        """One machine.

        Raises:
            NotFound: there is none with this id.
        """
        return self._view(self.roster.member(NodeId(node_id)))

    def output_file(self, task_id: TaskId, stream: str) -> Path | None:
        """The file of what a task printed on `stdout` or `stderr`; None when it printed nothing there."""
        path = self.tasks_folder / task_id / stream
        return path if stream in ("stdout", "stderr") and path.is_file() else None

    def allowed_hosts(self) -> frozenset[str]:
        """Host names the server answers for besides its own."""
        return frozenset(self.configuration.settings.server.allowed_hosts)

    def allowed_origins(self) -> frozenset[str]:
        """Origins of web pages that may call, besides the server's own."""
        return frozenset(self.configuration.settings.server.allowed_origins)

    def health(self) -> dict[str, Any]:
        """Whether everything works, and what does not."""
        return self.vitals.report()

    def _view(self, member: Member) -> dict[str, Any]:
        node, parts = member.node, self.performance.parts(member.node_id)
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
