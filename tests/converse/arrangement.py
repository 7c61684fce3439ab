"""Installations at an instant, as small or as odd as a test wants them."""

from typing import Any

from hypothesis import strategies as st

from conductor.decisions.converse.snapshot import ModelNow, NodeNow, Snapshot
from conductor.domain.decision import ConfidenceParts, Decision, Estimate, NodeScore
from conductor.domain.device import Device, DeviceType, TaskKind
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.workload import Workload

NOW = 1_800_000_000.0
WORK = Workload(kind="command", spec={"command": ["true"]})


def an_id(number: int) -> TaskId:
    return TaskId(f"t06gzw9j{number:011d}")


def a_decision(task_id: str = "preview", **fields: Any) -> Decision:
    given: dict[str, Any] = {
        "device": DeviceType.GPU,
        "runner_up": DeviceType.CPU,
        "available_device": DeviceType.CPU,
        "task_kind": TaskKind.TRAINING,
        "priority": 3,
        "compute_units": Estimate(value=1.5, low=1.0, high=2.0, source="prior"),
        "duration_s": Estimate(value=42.0, low=20.0, high=81.0, source="prior"),
        "confidence": 0.713,
        "parts": ConfidenceParts(
            similarity=0.81, device_success=0.62, node_availability=1.0, resource_availability=0.44
        ),
        "nodes": (a_score("desk", 0.873), a_score("loft", 0.655)),
        "reasoning": "This reads as training a model (91 %).",
        "similar": (),
        "device_probabilities": ((DeviceType.GPU, 0.91), (DeviceType.CPU, 0.07)),
        "evidence": {},
        "models": (),
        "decided_at_unix_s": NOW,
    }
    return Decision(task_id=task_id, **(given | fields))


def a_score(name: str, score: float) -> NodeScore:
    return NodeScore(node_id=NodeId(name), score=score, thermal=1.0, queue=0.5, capability=0.9, history=0.6)


def a_task(
    number: int = 1,
    description: str = "Train the defect classifier",
    state: TaskState = TaskState.RUNNING,
    *,
    took_s: float = 2.5,
    ended_ago_s: float = 60.0,
    decision: Decision | None = None,
    node: str = "desk",
) -> Task:
    task_id = an_id(number)
    ended = state in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.DEAD)
    outcome = Outcome(
        ending=Ending.SUCCEEDED if state is TaskState.SUCCEEDED else Ending.EXIT_CODE,
        message="it is over",
        node_id=NodeId(node),
        started_at_unix_s=NOW - ended_ago_s - took_s,
        duration_s=took_s,
    )
    return Task(
        task_id=task_id,
        submission=Submission(description=description, workload=WORK),
        state=state,
        submitted_at_unix_s=NOW - ended_ago_s - took_s - 1.25,
        updated_at_unix_s=NOW,
        decision=decision or a_decision(task_id),
        outcome=outcome if ended else None,
        node_id=node,
    )


def a_node(name: str = "desk", *, silent: bool = False, **reading: Any) -> NodeNow:
    given: dict[str, Any] = {"cpu_utilisation": 0.25, "free_memory_bytes": 6 * 2**30, "load_average_1m": 0.5}
    devices = (Device(device_id="cpu0", type=DeviceType.CPU, name="AMD EPYC 7543", compute_units=8),)
    return NodeNow(
        node=Node(
            node_id=NodeId(name),
            hostname=name,
            architecture="x86_64",
            operating_system="Linux 6.8",
            logical_cores=8,
            memory_bytes=16 * 2**30,
            devices=devices,
        ),
        reading=NodeReading(node_id=NodeId(name), taken_at_unix_s=NOW, free_disk_bytes=10**11, **(given | reading)),
        is_silent=silent,
        performance=0.62,
        attempts=14,
    )


def a_snapshot(*tasks: Task, nodes: tuple[NodeNow, ...] | None = None, **fields: Any) -> Snapshot:
    running = sum(task.state is TaskState.RUNNING for task in tasks)
    given: dict[str, Any] = {
        "waiting": sum(task.state is TaskState.QUEUED for task in tasks),
        "running": running,
        "models": (ModelNow(name="encoder 1.2", sha256="ab12" * 16, role="reads descriptions"),),
    }
    return Snapshot(taken_at_unix_s=NOW, nodes=(a_node(),) if nodes is None else nodes, tasks=tasks, **(given | fields))


_shares = st.floats(0, 1)
_seconds = st.floats(0.0001, 100_000)
_words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=100).filter(
    lambda text: text.strip() != ""
)


@st.composite
def decisions(draw: st.DrawFn, task_id: str = "preview") -> Decision:
    low, value, high = sorted(draw(st.tuples(_seconds, _seconds, _seconds)))
    names = draw(st.lists(st.sampled_from(["desk", "loft", "attic7"]), unique=True, max_size=3))
    chosen, other = draw(st.permutations(list(DeviceType)))[:2]
    return a_decision(
        task_id,
        device=chosen,
        runner_up=other,
        available_device=draw(st.sampled_from(list(DeviceType))),
        task_kind=draw(st.sampled_from(list(TaskKind))),
        priority=draw(st.integers(1, 5)),
        duration_s=Estimate(value=value, low=low, high=high, source="history"),
        confidence=draw(_shares),
        parts=ConfidenceParts(
            similarity=draw(_shares),
            device_success=draw(_shares),
            node_availability=draw(_shares),
            resource_availability=draw(_shares),
        ),
        nodes=tuple(a_score(name, draw(_shares)) for name in names),
        device_probabilities=((chosen, draw(_shares)), (other, draw(_shares))),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    tasks = [
        a_task(
            number,
            draw(_words),
            draw(st.sampled_from(list(TaskState))),
            took_s=draw(_seconds),
            ended_ago_s=draw(_seconds),
            decision=draw(decisions(an_id(number))),
            node=draw(st.sampled_from(["desk", "loft", "attic7"])),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    nodes = tuple(
        a_node(
            name,
            silent=draw(st.booleans()),
            cpu_utilisation=draw(_shares),
            free_memory_bytes=draw(st.integers(0, 16 * 2**30)),
            cpu_temperature_celsius=draw(st.none() | st.floats(-10, 120)),
            gpu_temperature_celsius=draw(st.none() | st.floats(-10, 120)),
            gpu_utilisation=draw(st.none() | _shares),
            network_bytes_per_s=draw(st.floats(0, 1e12)),
        )
        for name in draw(st.lists(st.sampled_from(["desk", "loft", "attic7"]), unique=True))
    )
    return a_snapshot(
        *tasks,
        nodes=nodes,
        waiting=draw(st.integers(0, 10**6)),
        running=draw(st.integers(0, 10**4)),
        problems=tuple(draw(st.lists(_words, max_size=2))),
    )
