"""The workload `python`: an importable callable with JSON arguments, run in a confined interpreter.

Specification: `{"callable": "package.module:function", "args": {name: value}?, "directory": text?, "environment"?}`.
`directory` is the import root and where it starts. The server never imports the module: it finds the file and reads
its names. The full check happens in the child, and what fails there before the call is `cannot_start`.
"""

import ast
import difflib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from conductor.adapters.attachments.staging import Staging
from conductor.adapters.local_processes.processes import LocalProcesses, ProcessEnding
from conductor.adapters.workloads import call, fields, sizes
from conductor.domain.errors import InvalidInput
from conductor.domain.json import JsonObject
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Task
from conductor.domain.units import format_bytes
from conductor.domain.workload import WorkProfile
from conductor.scheduling.ports import OutputListener

FIELD: Final = "workload.callable"
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class PythonKind:
    """Runs importable callables."""

    name = "python"
    executes_code = True

    def __init__(self, processes: LocalProcesses, staging: Staging | None = None) -> None:
        self._processes = processes
        self._staging = staging or Staging(processes)
        #: Before 3.12, parsing in two threads at once can fail with a SystemError (python/cpython#106905).
        self._parsing = threading.Lock()

    def check(self, spec: JsonObject) -> JsonObject:
        """See `WorkloadKind.check`; nothing is imported."""
        fields.refuse_unknown(spec, ("callable", "args", "directory", "environment"))
        name, arguments = fields.text(spec, "callable") or "", spec.get("args") or {}
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{FIELD} is {name!r}; write package.module:function", field=FIELD)
        if not isinstance(arguments, dict):
            raise InvalidInput("workload.args must be an object of arguments by name", field="workload.args")
        directory = fields.directory(spec)
        with self._parsing:
            _check_exists(name, [*([str(directory)] if directory else []), *sys.path])
        return {
            "callable": name,
            "args": arguments,
            "directory": None if directory is None else str(directory),
            "environment": fields.environment(spec),
        }

    def profile(self, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        found = spec.get("args")
        arguments = found if isinstance(found, dict) else {}
        words = sorted(name for name, value in arguments.items() if isinstance(value, str | bool | list | dict))
        return WorkProfile(
            signature=" ".join([f"python:{spec.get('callable')}", *words]),
            sizes=sizes.callable_sizes(arguments, directory=Path(fields.text(spec, "directory") or os.devnull)),
        )

    def inline(self, task: Task) -> Outcome | None:
        """Never: code of the submitter's choice runs in a process of its own."""
        return None

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """See `WorkloadKind.run`."""
        workload = task.submission.workload
        assert workload is not None
        directory = Path(fields.text(workload.spec, "directory") or self._processes.folder(task.task_id))
        request = {
            "callable": workload.spec["callable"],
            "args": workload.spec.get("args") or {},
            "directory": str(directory),
        }
        async with self._staging.of(task) as environment:
            ending = await self._processes.run(
                # -u: what it prints is seen when it prints it; -P: our modules are not importable by their file names.
                [sys.executable, "-u", "-P", call.__file__],
                task_id=task.task_id,
                limits=workload.limits,
                emit=emit,
                directory=directory,
                environment={**fields.environment(workload.spec), **environment},
                stdin=json.dumps(request).encode(),
                returns=True,
            )
        return _translate(ending, str(workload.spec["callable"]), workload.limits.memory_bytes)


def _translate(ending: ProcessEnding, name: str, memory_bytes: int) -> Outcome:
    """What the child answered, over what the process showed. A process that was stopped has no say."""
    outcome = ending.outcome
    if outcome.ending not in (Ending.SUCCEEDED, Ending.EXIT_CODE, Ending.OUT_OF_MEMORY):
        return outcome
    answer = _read(ending.returned)
    if "cannot" in answer:
        return replace(outcome, ending=Ending.CANNOT_START, message=str(answer["cannot"]))
    if "memory" in answer:
        message = (
            f"out of memory: {name} could not get what it asked for within its {format_bytes(memory_bytes)}; "
            "raise limits.memory_bytes or give it less to do at once"
        )
        return replace(outcome, ending=Ending.OUT_OF_MEMORY, message=message)
    if outcome.ending is Ending.OUT_OF_MEMORY:
        return outcome
    if "exception" in answer:
        raised = answer["exception"]
        return replace(outcome, ending=Ending.EXCEPTION, message=f"{raised['type']}: {raised['message']}")
    if outcome.ending is Ending.SUCCEEDED and "result" not in answer:
        return replace(outcome, message=f"{outcome.message}; {name} left through sys.exit and returned nothing")
    return replace(outcome, result=answer.get("result"))


def _read(answer: bytes) -> dict[str, Any]:
    """The answer, or nothing when the process ended before it was complete. It is foreign data."""
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    raised = said.get("exception", {"type": "", "message": ""})
    return said if isinstance(raised, dict) and {"type", "message"} <= raised.keys() else {}


def _check_exists(name: str, path: Sequence[str]) -> None:
    """Find the module's file and the attribute among its names, without running any of it."""
    module, _, attribute = name.partition(":")
    origin = _find_module(module, path)
    if origin is None or origin.suffix != ".py":
        return  # built in, compiled, or a package without a file: the child will see
    try:
        names = set(_names(ast.parse(origin.read_bytes(), filename=str(origin)).body))
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"{FIELD}: {origin} cannot be read as Python: {error}", field=FIELD) from error
    first = attribute.partition(".")[0]
    if first in names or names & {"*", "__getattr__"}:
        return
    near = difflib.get_close_matches(first, names, n=1)
    meant = f"did you mean {module}:{near[0]}?" if near else f"define it in {origin}"
    raise InvalidInput(f"{FIELD}: module {module} has no {first!r}; {meant}", field=FIELD)


def _find_module(module: str, path: Sequence[str]) -> Path | None:
    """Where a module lies.

    `importlib.util.find_spec` would import the parents of a dotted name; looking up each part by itself does not.

    Raises:
        InvalidInput: there is none.
    """
    where, parts = list(path), module.split(".")
    for depth, part in enumerate(parts):
        if depth == 0 and part in sys.builtin_module_names:
            return None
        spec = PathFinder.find_spec(part, where)
        if spec is None:
            missing = ".".join(parts[: depth + 1])
            raise InvalidInput(
                f"{FIELD}: there is no module {missing!r}; set the directory to the folder it is imported from, or "
                "install it where the server runs",
                field=FIELD,
            )
        if depth == len(parts) - 1:
            return Path(spec.origin) if spec.origin and spec.has_location else None
        where = list(spec.submodule_search_locations or [])
    return None


def _names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names a module binds at its top level, also below `if`, `try` and `with`; `*` for a star import."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.Assign() | ast.AnnAssign():
                yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                for part in ("body", "orelse", "finalbody"):
                    yield from _names(getattr(statement, part, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _names(handler.body)
            case _:
                continue
