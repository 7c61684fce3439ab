"""Run one command to its end in a confined process, and say what happened.

`LocalProcesses` gives every task a folder of its own and a control group, starts the launcher, supervises it and puts
the measured outcome together. What a command means, and whether it makes sense, is for the workload kinds.

Covered: cancellation at any point (returns only when every process is gone), death of this server (nothing survives
it), a disk that is full, a slice this machine cannot make. Not covered: systems other than Linux.
"""

import asyncio
import re
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from conductor.adapters.local_processes.control_groups import ControlGroups, TaskGroup
from conductor.adapters.local_processes.endings import Evidence, LauncherReport, Stop, judge
from conductor.adapters.local_processes.environment import find_executable, task_environment
from conductor.adapters.local_processes.launching import launch
from conductor.adapters.local_processes.output import TaskPrinting
from conductor.adapters.local_processes.supervision import Supervision
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, InvalidInput
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import TaskId
from conductor.domain.workload import Limits
from conductor.fleet.ports import Slice
from conductor.scheduling.ports import OutputListener

_TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnding:
    """How a process ended, and the bytes it wrote to its result descriptor (never more than `output_bytes`)."""

    outcome: Outcome
    returned: bytes = b""


class LocalProcesses:
    """Confined processes on this machine.

    Args:
        root: task folders are made in it; created if missing.
        node_id: recorded in outcomes.
        carve: what to enforce for given limits (`fleet.confinement.carve` with facts and policy filled in).
        groups: this server's control groups.
        environment: the server's own environment, of which tasks see the harmless part.
        grace_s: how long a task has between SIGTERM and SIGKILL when its wall time is over.
    """

    def __init__(
        self,
        *,
        root: Path,
        node_id: NodeId,
        clock: Clock,
        carve: Callable[[Limits], Slice],
        groups: ControlGroups,
        environment: Mapping[str, str],
        grace_s: float = 2.0,
    ) -> None:
        self._root, self.node_id, self.clock = root.absolute(), node_id, clock
        self._carve, self._groups, self._grace_s = carve, groups, grace_s
        self._environment = environment

    def find_executable(self, program: str, *, directory: Path | None, environment: Mapping[str, str]) -> Path | None:
        """What `run` would execute for this program name; None if there is nothing to execute."""
        return find_executable(
            program,
            directory=directory or self._root,
            environment=task_environment(self._environment, environment),
        )

    def folder(self, task_id: TaskId) -> Path:
        """Where the task's output (`stdout`, `stderr`) and its own files lie.

        Raises:
            InvalidInput: the id cannot be the name of a folder.
        """
        if not _TASK_ID.fullmatch(task_id):
            raise InvalidInput(f"task id {task_id!r} cannot name a folder", field="task_id")
        return self._root / task_id

    def close(self) -> None:
        """Take away what was set up outside the task folders; call when nothing runs any more."""
        self._groups.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        task_id: TaskId,
        limits: Limits,
        emit: OutputListener,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        returns: bool = False,
    ) -> ProcessEnding:
        """Run to the end, whatever it is. Cancelling kills every process of the task first.

        Args:
            argv: program (looked up as in `find_executable`) and arguments.
            task_id: names the task's folder.
            limits: what it may use.
            emit: gets what it prints, while it prints it.
            directory: where it starts; the task's own folder if None.
            environment: added to the harmless part of the server's.
            stdin: what it can read; nothing by default.
            returns: give it a descriptor to answer on, whose number stands in `CONDUCTOR_RESULT_FD`.
        """
        began_s = self.clock.now_unix_s()
        folder, group = self.folder(task_id), self._groups.task(task_id)
        attempt = _Attempt(argv=argv, folder=folder, directory=directory or folder, began_unix_s=began_s)
        with ExitStack() as undo:
            try:
                carved = self._carve(limits)
                (folder / "tmp").mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
                group.make(limits)
                printing = TaskPrinting(folder, task_id, limit_bytes=limits.output_bytes, emit=emit)
                undo.callback(printing.close)
                launched = launch(
                    argv,
                    carved=carved,
                    directory=attempt.directory,
                    environment=self._environment_of(folder, environment or {}),
                    launcher_environment=task_environment(self._environment, {}),
                    group_entries=group.entries,
                    group_root=self._groups.root,
                    stdin=stdin,
                    returns=returns,
                )
            except (OSError, ConductorError) as error:
                await group.remove()
                return self._cannot_start(attempt, str(error))
            supervision = Supervision(launched, carved=carved, group=group, printing=printing, clock=self.clock)
            return await self._supervise(attempt, supervision, carved, group, printing)

    def _environment_of(self, folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
        own = {"CONDUCTOR_TASK_DIR": str(folder), "TMPDIR": str(folder / "tmp")}
        return task_environment(self._environment, wanted) | own

    async def _supervise(
        self, attempt: "_Attempt", supervision: Supervision, carved: Slice, group: TaskGroup, printing: TaskPrinting
    ) -> ProcessEnding:
        evidence: Evidence | None = None

        async def wind_up(stop: Stop | None, grace_s: float) -> None:
            nonlocal evidence
            await supervision.end(grace_s=grace_s)
            evidence = self._evidence(attempt, supervision, carved, group, printing, stop)
            await supervision.close()
            await group.remove()
            await _clear(attempt.folder / "tmp")

        try:
            stop = await supervision.watch()
        except asyncio.CancelledError:
            await _undisturbed(wind_up(None, 0.0))
            raise
        await _undisturbed(wind_up(stop, self._grace_s if stop is Stop.WALL_TIME else 0.0))
        assert evidence is not None
        return self._ending(attempt, evidence, supervision, printing)

    def _evidence(
        self,
        attempt: "_Attempt",
        supervision: Supervision,
        carved: Slice,
        group: TaskGroup,
        printing: TaskPrinting,
        stop: Stop | None,
    ) -> Evidence:
        report, usage = LauncherReport.parse(bytes(supervision.status)), group.usage()
        # A process's own peak includes the moment before it became the command; what the group was charged bounds it.
        peak = max(report.largest_process_bytes, supervision.sampled_bytes, usage.held_bytes or 0)
        return Evidence(
            program=attempt.argv[0],
            directory=attempt.directory,
            carved=carved,
            report=report,
            stop=stop,
            usage=usage,
            cpu_time_s=max(report.cpu_time_s, supervision.sampled_cpu_s)
            if usage.cpu_time_s is None
            else usage.cpu_time_s,
            peak_bytes=peak if usage.peak_bytes is None else min(peak, usage.peak_bytes),
            stderr_tail=printing.stderr.tail,
            disk_error=str(printing.disk_error or ""),
        )

    def _ending(
        self, attempt: "_Attempt", evidence: Evidence, supervision: Supervision, printing: TaskPrinting
    ) -> ProcessEnding:
        ending, message = judge(evidence)
        report = evidence.report
        outcome = Outcome(
            ending=ending,
            message=message,
            node_id=self.node_id,
            started_at_unix_s=attempt.began_unix_s,
            duration_s=report.duration_s or 0.0,
            cpu_time_s=evidence.cpu_time_s,
            peak_memory_bytes=evidence.peak_bytes,
            exit_code=None if ending is Ending.CANNOT_START else report.exit_code,
            signal=None if ending is Ending.CANNOT_START else report.signal,
            stdout_tail=printing.stdout.tail,
            stderr_tail=printing.stderr.tail,
            output_bytes=printing.printed_bytes,
            confinement=evidence.carved.name,
        )
        return ProcessEnding(outcome=outcome, returned=bytes(supervision.returned))

    def _cannot_start(self, attempt: "_Attempt", why: str) -> ProcessEnding:
        outcome = Outcome(
            ending=Ending.CANNOT_START,
            message=f"{attempt.argv[0]} was not started: {why}",
            node_id=self.node_id,
            started_at_unix_s=attempt.began_unix_s,
            duration_s=0.0,
        )
        return ProcessEnding(outcome=outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    argv: Sequence[str]
    folder: Path
    directory: Path
    began_unix_s: float


async def _clear(folder: Path) -> None:
    """Remove a folder; the usual empty one at once, a full one off the event loop."""
    try:
        folder.rmdir()  # noqa: ASYNC240 (a few microseconds; a thread would take more)
    except OSError:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _undisturbed(work: Coroutine[object, object, None]) -> None:
    """Finish something however often the caller is cancelled meanwhile; the first cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    # anyio cancels again at every await inside a cancelled scope; the shield spares us that.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
    task.result()
    if cancelled is not None:
        raise cancelled
