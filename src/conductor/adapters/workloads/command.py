"""The workload `command`: an executable with arguments, run in a confined process.

Specification: `{"command": [program, argument, …], "directory": text?, "environment": {name: text}?, "stdin": text?}`.
There is no shell in between; a task that wants one says `["sh", "-c", "…"]`. Attached files lie in `attachments/` of the
task's own folder, where it starts unless a directory is given; `CONDUCTOR_ATTACHMENTS` names that folder.
"""

import os
from pathlib import Path

from conductor.adapters.attachments.staging import Staging
from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.adapters.workloads import fields, sizes
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Outcome
from conductor.domain.task import Task
from conductor.domain.workload import WorkProfile
from conductor.scheduling.ports import OutputListener


class CommandKind:
    """Runs executables."""

    name = "command"
    executes_code = True

    def __init__(self, processes: LocalProcesses, staging: Staging | None = None) -> None:
        self._processes = processes
        self._staging = staging or Staging(processes)

    def check(self, spec: JsonObject) -> JsonObject:
        """See `WorkloadKind.check`; the executable and the directory must exist now."""
        fields.refuse_unknown(spec, ("command", "directory", "environment", "stdin"))
        command = fields.texts(spec.get("command"), "workload.command")
        if not command or not command[0]:
            raise InvalidInput(
                'workload.command is empty; give the program and its arguments, such as ["ffmpeg", "-i", "in.mkv"]',
                field="workload.command",
            )
        directory, environment = fields.directory(spec), fields.environment(spec)
        if self._processes.find_executable(command[0], directory=directory, environment=environment) is None:
            raise InvalidInput(self._missing(command[0], directory), field="workload.command")
        return {
            "command": command,
            "directory": None if directory is None else str(directory),
            "environment": environment,
            "stdin": fields.text(spec, "stdin"),
        }

    def profile(self, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        command = fields.texts(spec.get("command"), "workload.command")
        stdin = fields.text(spec, "stdin") or ""
        # Without a directory the task starts in an empty folder of its own: relative names are no inputs there.
        directory = Path(fields.text(spec, "directory") or os.devnull)
        return WorkProfile(
            signature=sizes.command_signature(command),
            sizes=sizes.command_sizes(command, directory=directory, stdin_bytes=len(stdin)),
        )

    def inline(self, task: Task) -> Outcome | None:
        """Never: code of the submitter's choice runs in a process of its own."""
        return None

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """See `WorkloadKind.run`."""
        workload = task.submission.workload
        assert workload is not None
        directory = fields.text(workload.spec, "directory")
        async with self._staging.of(task) as environment:
            ending = await self._processes.run(
                fields.texts(workload.spec["command"], "workload.command"),
                task_id=task.task_id,
                limits=workload.limits,
                emit=emit,
                directory=None if directory is None else Path(directory),
                environment={**fields.environment(workload.spec), **environment},
                stdin=(fields.text(workload.spec, "stdin") or "").encode(),
            )
        return ending.outcome

    def _missing(self, program: str, directory: Path | None) -> str:
        path = (directory or Path.cwd()) / program
        if os.sep in program and path.exists():
            return f"{program!r} may not be executed; make it executable with `chmod +x {path}`"
        if os.sep in program:
            return f"there is no executable {program!r} (looked for {path}); give its full path or set the directory"
        return f"there is no executable {program!r} on the PATH of the server; install it or give its full path"
