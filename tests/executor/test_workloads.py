"""The kinds of work: what they refuse, what they know beforehand, and what comes out."""

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.adapters.local_processes.processes import LocalProcesses
from conductor.adapters.workloads.command import CommandKind
from conductor.adapters.workloads.embed import EmbedKind
from conductor.adapters.workloads.noop import NoopKind
from conductor.adapters.workloads.python_callable import PythonKind
from conductor.adapters.workloads.registry import WorkloadRegistry
from conductor.adapters.workloads.sizes import command_signature, command_sizes, number_in
from conductor.decisions.ports import Encodings
from conductor.domain.errors import InvalidInput
from conductor.domain.event import TaskOutput
from conductor.domain.json import JsonObject
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.units import MIB
from conductor.domain.workload import Limits, Workload
from conductor.scheduling.ports import WorkloadKind

from .conftest import RealClock

pytestmark = pytest.mark.anyio


class LetterEncoder:
    """A real, if simple, embedding: how often each letter occurs, as a unit vector."""

    name, checksum = "letters", "0" * 64

    def encode(self, texts: Sequence[str]) -> Encodings:
        rows = np.array(
            [[text.lower().count(letter) + 1e-6 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
        )
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        even = np.full((len(texts), 6), 1 / 6, dtype=np.float32)
        return Encodings(rows.astype(np.float32), even, np.full((len(texts), 15), 1 / 15, dtype=np.float32))


@pytest.fixture
def registry(make_processes: Callable[..., LocalProcesses]) -> WorkloadRegistry:
    processes, clock, node_id = make_processes(), RealClock(), NodeId("here")
    kinds: list[WorkloadKind] = [
        CommandKind(processes),
        PythonKind(processes),
        EmbedKind(LetterEncoder(), node_id=node_id, clock=clock),
        NoopKind(node_id=node_id, clock=clock),
    ]
    return WorkloadRegistry(kinds)


def a_task(kind: str, spec: JsonObject, limits: Limits | None = None) -> Task:
    workload = Workload(kind=kind, spec=spec, limits=limits or Limits(wall_time_s=20))
    return Task(
        task_id=TaskId("t"),
        submission=Submission(description="some work", workload=workload),
        state=TaskState.RUNNING,
        submitted_at_unix_s=0.0,
        updated_at_unix_s=0.0,
    )


async def outcome_of(registry: WorkloadRegistry, kind: str, spec: JsonObject, limits: Limits | None = None) -> Outcome:
    return await registry.run(a_task(kind, registry.check(kind, spec), limits), lambda piece: None)


# registry


async def test_an_unknown_kind_is_refused_with_the_nearest_name(registry: WorkloadRegistry) -> None:
    with pytest.raises(InvalidInput, match=r"did you mean 'command'.*command, embed, noop, python"):
        registry.check("comand", {})


async def test_kinds_of_installed_packages_are_found_and_broken_ones_named(
    make_processes: Callable[..., LocalProcesses], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "third_party_kind.py").write_text(
        "class Kind:\n    name = 'echo'\n    executes_code = False\n    def __init__(self, processes): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    installed = [
        EntryPoint("echo", "third_party_kind:Kind", "conductor.workloads"),
        EntryPoint("gone", "no_such_package:Kind", "conductor.workloads"),
    ]

    found = WorkloadRegistry.discover([], processes=make_processes(), installed=installed)

    assert list(found.kinds) == ["echo"]
    with pytest.raises(InvalidInput, match=r"'gone' is installed but .*ModuleNotFoundError"):
        found.check("gone", {})


async def test_only_noop_is_inline_and_gives_back_its_value(registry: WorkloadRegistry) -> None:
    task = a_task("noop", {"value": {"a": 1}})
    outcome = registry.inline(task)

    assert registry.is_inline(task)
    assert not registry.is_inline(a_task("command", {"command": ["true"]}))
    assert registry.inline(a_task("command", {"command": ["true"]})) is None
    assert outcome is not None
    assert (outcome.ending, outcome.result) == (Ending.SUCCEEDED, {"a": 1})


# command


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "must be a list of texts"),
        ({"command": []}, "is empty"),
        ({"command": "ls -l"}, "must be a list of texts"),
        ({"command": ["no-such-program-here"]}, "'no-such-program-here'.*install it"),
        ({"command": ["./nothing"]}, "no executable './nothing'"),
        ({"command": ["true"], "directory": "/no/such/folder"}, "no folder"),
        ({"command": ["true"], "enviroment": {}}, "did you mean 'environment'"),
        ({"command": ["true"], "environment": {"A": 1}}, "numbers go in quotes"),
        ({"command": ["tr\0ue"]}, "NUL"),
    ],
)
async def test_commands_that_cannot_work_are_refused(registry: WorkloadRegistry, spec: JsonObject, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        registry.check("command", spec)

    assert refused.value.field is not None
    assert refused.value.field.startswith("workload.")


async def test_a_script_without_permission_is_refused_with_the_remedy(
    registry: WorkloadRegistry, tmp_path: Path
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")

    with pytest.raises(InvalidInput, match="chmod"):
        registry.check("command", {"command": ["./job.sh"], "directory": str(tmp_path)})


async def test_a_command_gets_its_directory_environment_and_stdin(registry: WorkloadRegistry, tmp_path: Path) -> None:
    spec = {
        "command": ["sh", "-c", "pwd; echo $GREETING; cat"],
        "directory": str(tmp_path),
        "environment": {"GREETING": "hello"},
        "stdin": "from stdin",
    }

    outcome = await outcome_of(registry, "command", spec)

    assert outcome.stdout_tail == f"{tmp_path}\nhello\nfrom stdin"


async def test_a_script_in_its_own_directory_is_found_and_run(registry: WorkloadRegistry, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "job.sh").chmod(0o755)

    outcome = await outcome_of(registry, "command", {"command": ["./job.sh"], "directory": str(tmp_path)})

    assert outcome.stdout_tail == "ran\n", outcome


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ffmpeg -y -i a.mkv -c:v libx264 -crf 23 out.mp4", "ffmpeg -y -i /data/b.mov -c:v libx264 -crf 18 x/b.mp4"),
        ("python sim.py --steps 100", "python lib/sim.py --steps 2000"),
        ("tool --size=10 --out=a.txt", "tool --size=99 --out=dir/b.txt"),
    ],
)
async def test_the_same_recipe_on_other_data_has_the_same_signature(one: str, other: str) -> None:
    assert command_signature(one.split()) == command_signature(other.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ffmpeg -i a.mkv -c:v libx264 o.mp4", "ffmpeg -i a.mkv -c:v libx265 o.mp4"),
        ("python train.py", "python evaluate.py"),
        ("tool --mode=fast", "tool --mode=slow"),
    ],
)
async def test_another_recipe_has_another_signature(one: str, other: str) -> None:
    assert command_signature(one.split()) != command_signature(other.split())


@pytest.mark.parametrize(
    ("word", "number"),
    [("23", 23), ("1e3", 1000), ("5M", 5), ("1280x720", 921600), ("00:01:30.5", 90.5), ("50%", 50), ("libx264", None)],
)
async def test_numbers_are_read_in_the_shapes_options_have(word: str, number: float | None) -> None:
    assert number_in(word) == number


@given(st.text(max_size=40))
async def test_no_word_breaks_the_profile(word: str) -> None:
    argv = ["tool", word, "-x", word, f"--y={word}"]

    assert command_signature(argv).startswith("command:tool")
    assert all(size > 0 for size in command_sizes(argv, directory=Path("/nowhere"), stdin_bytes=0).values())


async def test_input_bytes_leave_out_the_output_of_an_earlier_run(registry: WorkloadRegistry, tmp_path: Path) -> None:
    (tmp_path / "in.mkv").write_bytes(b"x" * 500)
    (tmp_path / "out.mp4").write_bytes(b"x" * 70)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x" * 40)

    def sizes(command: str) -> dict[str, float]:
        return command_sizes(command.split(), directory=tmp_path, stdin_bytes=0)

    assert sizes("ffmpeg -y -i in.mkv -crf 23 out.mp4") == {"input_bytes": 500, "arg.crf": 23}
    assert sizes("convert in.mkv out.mp4") == {"input_bytes": 500}
    assert sizes("convert in.mkv new.mp4") == {"input_bytes": 500}
    assert sizes("index photos --depth=3") == {"input_bytes": 40, "arg.depth": 3}


# python

MODULE = """
import asyncio
import re
import sys

def add(a, b=0):
    print("adding")
    return a + b

async def wait(value):
    await asyncio.sleep(0)
    return {"value": value}

def fail():
    raise ValueError("no such colour")

def unwritable():
    return {1, 2}

def infinite():
    return float("inf")

def eat():
    raise MemoryError

def leave():
    sys.exit(4)

CONSTANT = 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "project" / "jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the server must not import me')\n")
    (package / "broken.py").write_text("def run(): pass\n")
    (package.parent / "work.py").write_text(MODULE)
    (package.parent / "needs.py").write_text("import not_installed_anywhere\ndef run(): pass\n")
    (package.parent / "wrong.py").write_text("def run(:\n")
    return package.parent


@pytest.mark.parametrize(
    ("callable", "said"),
    [
        ("work", "write package.module:function"),
        ("work:ad", "did you mean work:add"),
        ("nowhere.work:add", "no module 'nowhere'"),
        ("jobs.nothing:run", "no module 'jobs.nothing'"),
        ("wrong:run", "cannot be read as Python"),
        ("../work:add", "write package.module:function"),
    ],
)
async def test_callables_that_do_not_exist_are_refused(
    registry: WorkloadRegistry, project: Path, callable: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        registry.check("python", {"callable": callable, "directory": str(project)})


async def test_checking_imports_nothing(registry: WorkloadRegistry, project: Path) -> None:
    checked = registry.check("python", {"callable": "jobs.broken:run", "directory": str(project)})

    assert checked["callable"] == "jobs.broken:run"
    assert "jobs" not in sys.modules


@pytest.mark.parametrize(
    ("callable", "args", "ending", "result", "said"),
    [
        ("work:add", {"a": 2, "b": 3}, Ending.SUCCEEDED, 5, "done"),
        ("work:wait", {"value": "é"}, Ending.SUCCEEDED, {"value": "é"}, "done"),
        ("work:fail", {}, Ending.EXCEPTION, None, "ValueError: no such colour"),
        ("work:unwritable", {}, Ending.EXCEPTION, None, "not JSON .*set is not JSON serializable"),
        ("work:infinite", {}, Ending.EXCEPTION, None, "not JSON"),
        ("work:eat", {}, Ending.OUT_OF_MEMORY, None, "limits.memory_bytes"),
        ("work:leave", {}, Ending.EXIT_CODE, None, "exit code 4"),
        ("work:add", {"c": 1}, Ending.CANNOT_START, None, "missing a required argument: 'a'"),
        ("work:CONSTANT", {}, Ending.CANNOT_START, None, "CONSTANT is int"),
        ("needs:run", {}, Ending.CANNOT_START, None, "No module named 'not_installed_anywhere'"),
        ("jobs.broken:run", {}, Ending.CANNOT_START, None, "RuntimeError: the server must not import me"),
    ],
)
async def test_every_way_a_call_can_end_is_told_apart(
    registry: WorkloadRegistry,
    project: Path,
    callable: str,
    args: JsonObject,
    ending: Ending,
    result: object,
    said: str,
) -> None:
    outcome = await outcome_of(registry, "python", {"callable": callable, "args": args, "directory": str(project)})

    assert (outcome.ending, outcome.result) == (ending, result), outcome
    assert re.search(said, outcome.message), outcome.message


async def test_printing_and_returning_do_not_mix(registry: WorkloadRegistry, project: Path) -> None:
    spec = {"callable": "work:add", "args": {"a": 1}, "directory": str(project)}

    outcome = await outcome_of(registry, "python", spec)

    assert (outcome.result, outcome.stdout_tail) == (1, "adding\n")


async def test_a_result_larger_than_the_output_bound_is_refused(registry: WorkloadRegistry, project: Path) -> None:
    spec = {"callable": "work:add", "args": {"a": "x" * 300_000, "b": ""}, "directory": str(project)}

    outcome = await outcome_of(registry, "python", spec, Limits(output_bytes=100_000, wall_time_s=20))

    assert outcome.ending is Ending.OUTPUT_LIMIT, outcome


async def test_real_memory_hunger_of_a_callable_is_told(registry: WorkloadRegistry, project: Path) -> None:
    (project / "hungry.py").write_text("def run():\n    return len(b'x' * 400_000_000)\n")
    spec = {"callable": "hungry:run", "directory": str(project)}

    outcome = await outcome_of(registry, "python", spec, Limits(memory_bytes=128 * MIB, wall_time_s=20))

    assert outcome.ending is Ending.OUT_OF_MEMORY, outcome


async def test_arguments_of_a_callable_are_measured(registry: WorkloadRegistry, project: Path) -> None:
    (project / "photos").mkdir()
    (project / "photos" / "a").write_bytes(b"x" * 10)
    (project / "photos" / "b").write_bytes(b"x" * 5)
    spec = {
        "callable": "work:add",
        "args": {"a": 1000, "items": [1, 2, 3], "folder": "photos", "fast": True},
        "directory": str(project),
    }

    profile = registry.profile("python", registry.check("python", spec))

    assert profile.signature == "python:work:add fast folder items"
    assert profile.sizes == {"arg.a": 1000, "arg.items.len": 3, "arg.folder.bytes": 15, "arg.folder.files": 2}


# embed


async def test_texts_are_compared_with_labels(registry: WorkloadRegistry, tmp_path: Path) -> None:
    spec = {
        "texts": ["aaab", "zzzy", "aaaa"],
        "compare": {"first": ["aaa"], "last": ["zzz", "zzzz"]},
        "output": "vectors.jsonl",
        "directory": str(tmp_path),
    }

    outcome = await outcome_of(registry, "embed", spec)

    assert outcome.ending is Ending.SUCCEEDED, outcome
    assert isinstance(outcome.result, dict)
    assert outcome.result["labels"] == {"first": 2, "last": 1}
    assert [item["label"] for item in outcome.result["items"]] == ["first", "last", "first"]  # type: ignore[index,union-attr,call-overload]
    assert len((tmp_path / "vectors.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reviews.csv", "id,text\n1,good\n2,\n3,bad\n"),
        ("reviews.jsonl", '{"text": "good"}\n\n{"text": "bad"}\n'),
        ("reviews.txt", "good\n\nbad\n"),
    ],
)
async def test_texts_are_read_from_files(registry: WorkloadRegistry, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    outcome = await outcome_of(registry, "embed", {"file": name, "directory": str(tmp_path)})

    assert isinstance(outcome.result, dict)
    assert outcome.result["texts"] == 2


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "either workload.texts or workload.file"),
        ({"texts": []}, "at least one text"),
        ({"file": "missing.csv"}, "there is no file"),
        ({"file": "reviews.csv", "column": "body"}, "no column 'body'; it has id, text"),
        ({"file": "reviews.pkl"}, "can be read"),
        ({"texts": ["a"], "compare": {"good": []}}, "workload.compare.good is empty"),
        ({"texts": ["a"], "output": "no/such/out.jsonl"}, "create it first"),
    ],
)
async def test_texts_that_cannot_be_embedded_are_refused(
    registry: WorkloadRegistry, tmp_path: Path, spec: JsonObject, said: str
) -> None:
    (tmp_path / "reviews.csv").write_text("id,text\n1,good\n")

    with pytest.raises(InvalidInput, match=said):
        registry.check("embed", {**spec, "directory": str(tmp_path)})


async def test_embedding_stops_between_batches(registry: WorkloadRegistry) -> None:
    task = a_task("embed", registry.check("embed", {"texts": ["word"] * 5000}))
    heard: list[TaskOutput] = []
    work: asyncio.Task[Outcome]

    def listen(piece: TaskOutput) -> None:
        heard.append(piece)
        work.cancel()

    work = asyncio.create_task(registry.run(task, listen))
    with pytest.raises(asyncio.CancelledError):
        await work

    assert [piece.text for piece in heard] == ["32 of 5000 texts\n"]


async def test_embedding_honours_its_wall_time(registry: WorkloadRegistry) -> None:
    outcome = await outcome_of(registry, "embed", {"texts": ["word"] * 100}, Limits(wall_time_s=1e-9))

    assert outcome.ending is Ending.WALL_TIME
    assert "0 of 100" in outcome.message
