"""Every kind of work this server can execute, as the one executor that scheduling knows.

Third parties add kinds under the entry point group `conductor.workloads`: each entry names a callable that takes the
`LocalProcesses` and returns a `WorkloadKind`. A kind that fails to load takes nothing else down; it is listed in
`broken` with the reason, and asking for it says so.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Self

from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.plain_data import check_plain
from conductor.domain.task import Task
from conductor.domain.workload import WorkProfile
from conductor.scheduling.ports import OutputListener, WorkloadKind

GROUP: Final = "conductor.workloads"


class WorkloadRegistry:
    """Hands each task to its kind. Implements `scheduling.ports.Executor`."""

    def __init__(self, kinds: Iterable[WorkloadKind], *, broken: Mapping[str, str] | None = None) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self.broken = dict(broken or {})

    @classmethod
    def discover(
        cls,
        kinds: Iterable[WorkloadKind],
        *,
        processes: LocalProcesses,
        installed: Iterable[EntryPoint] | None = None,
    ) -> Self:
        """The given kinds and those of installed packages; a given kind is never replaced."""
        found, broken = {kind.name: kind for kind in kinds}, {}
        for entry in entry_points(group=GROUP) if installed is None else installed:
            try:
                kind: WorkloadKind = entry.load()(processes)
                if kind.name in found:
                    broken[entry.name] = f"{entry.value} wants the name {kind.name!r}, which is taken"
                else:
                    found[kind.name] = kind
            except Exception as error:  # foreign code: whatever it raises must not stop the server
                broken[entry.name] = f"{entry.value} did not load: {type(error).__name__}: {error}"
        return cls(found.values(), broken=broken)

    @property
    def kinds(self) -> Mapping[str, WorkloadKind]:
        """Kinds by name."""
        return self._kinds

    def kind(self, name: str) -> WorkloadKind:
        """One kind.

        Raises:
            InvalidInput: there is none of this name; the message gives the nearest and all there are.
        """
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        if name in self.broken:
            raise InvalidInput(
                f"the workload kind {name!r} is installed but {self.broken[name]}", field="workload.kind"
            )
        near = difflib.get_close_matches(name, self._kinds, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidInput(
            f"there is no workload kind {name!r}; {meant}known are {', '.join(sorted(self._kinds))}",
            field="workload.kind",
        )

    def check(self, kind: str, spec: JsonObject) -> JsonObject:
        """See `WorkloadKind.check`."""
        return self.kind(kind).check(spec)

    def profile(self, kind: str, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        return self.kind(kind).profile(spec)

    def is_inline_kind(self, name: str) -> bool:
        """Whether tasks of this kind end at once in this process; a kind says so by `runs_inline = True`."""
        return getattr(self._kinds.get(name), "runs_inline", False) is True

    def is_inline(self, task: Task) -> bool:
        """See `is_inline_kind`."""
        workload = task.submission.workload
        return workload is not None and self.is_inline_kind(workload.kind)

    def inline(self, task: Task) -> Outcome | None:
        """See `WorkloadKind.inline`."""
        return self._of(task).inline(task)

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """See `WorkloadKind.run`."""
        return _storable(await self._of(task).run(task, emit))

    def _of(self, task: Task) -> WorkloadKind:
        workload = task.submission.workload
        if workload is None:
            raise InvalidInput(f"task {task.task_id} has nothing to execute", field="workload")
        return self.kind(workload.kind)


def _storable(outcome: Outcome) -> Outcome:
    """The outcome with texts in Unicode, and with a result that every reader of our records can hold, or with none."""
    ending, message, result = outcome.ending, outcome.message, outcome.result
    try:
        check_plain(result, field="the result")
    except InvalidInput as error:
        ending, message, result = Ending.EXCEPTION, error.message, None
    return replace(
        outcome,
        ending=ending,
        message=_whole(message),
        result=result,
        stdout_tail=_whole(outcome.stdout_tail),
        stderr_tail=_whole(outcome.stderr_tail),
    )


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()
