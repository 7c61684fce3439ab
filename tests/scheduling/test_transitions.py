from collections.abc import Awaitable, Iterator

import pytest

from conductor.domain.errors import InvalidTransition
from conductor.domain.event import TaskEvent
from conductor.domain.task import Submission, Task, TaskId, TaskState
from conductor.domain.workload import Workload
from conductor.scheduling.transitions import Transitions


class Still:
    def now_unix_s(self) -> float:
        return 1000.0

    def monotonic_s(self) -> float:
        return 0.0


class Durable:
    def __await__(self) -> Iterator[None]:
        return iter(())


class Log:
    """Journal and listener in one: what was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def record(self, task: Task, event: TaskEvent) -> Awaitable[None]:
        self.told.append(f"journal {event.state}")
        return Durable()

    def hear(self, task: Task, event: TaskEvent) -> None:
        assert task.state is event.state
        self.told.append(f"listener {event.state}")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def transitions(log: Log) -> Transitions:
    return Transitions(journal=log, clock=Still(), listeners=[log.hear])


def a_task(name: str = "t", *, workload: Workload | None = Workload(kind="noop")) -> Task:  # noqa: B008  # frozen
    return Task(
        task_id=TaskId(name),
        submission=Submission(description="sharpen", workload=workload),
        state=TaskState.SUBMITTED,
        submitted_at_unix_s=1000.0,
        updated_at_unix_s=1000.0,
    )


def settle(transitions: Transitions, name: str) -> Task:
    transitions.begin(a_task(name))
    return transitions.move(a_task(name), TaskState.CANCELLED)[0]


def test_listeners_hear_each_transition_before_it_is_recorded(transitions: Transitions, log: Log) -> None:
    transitions.begin(a_task())
    transitions.move(a_task(), TaskState.DECIDED)

    assert log.told == ["listener submitted", "journal submitted", "listener decided", "journal decided"]


def test_what_cannot_follow_is_neither_recorded_nor_told(transitions: Transitions, log: Log) -> None:
    transitions.begin(a_task())
    told = list(log.told)
    with pytest.raises(InvalidTransition, match="task t is submitted and cannot become running"):
        transitions.move(a_task(), TaskState.RUNNING)

    assert log.told == told
    assert transitions.live(TaskId("t")) == a_task()


def test_a_task_is_advanced_from_where_it_stands_whatever_copy_is_handed_in(transitions: Transitions) -> None:
    transitions.begin(a_task())
    for state in (TaskState.DECIDED, TaskState.QUEUED, TaskState.PLACED, TaskState.RUNNING):
        transitions.move(a_task(), state)
    moved, _ = transitions.move(a_task(), TaskState.SUCCEEDED)

    assert moved.attempt == 1


def test_a_settled_task_cannot_be_settled_again_from_an_older_copy(transitions: Transitions, log: Log) -> None:
    settle(transitions, "t")
    told = list(log.told)
    with pytest.raises(InvalidTransition):
        transitions.move(a_task(), TaskState.CANCELLED)

    assert log.told == told


def test_a_task_is_live_until_it_is_settled_and_known_for_a_while_after(transitions: Transitions) -> None:
    transitions.begin(a_task("a"))
    settled = settle(transitions, "b")

    assert transitions.unsettled() == [a_task("a")]
    assert (transitions.live(TaskId("a")), transitions.known(TaskId("a"))) == (a_task("a"), a_task("a"))
    assert (transitions.live(TaskId("b")), transitions.known(TaskId("b"))) == (None, settled)
    assert transitions.known(TaskId("c")) is None


def test_the_memory_of_settled_tasks_is_bounded(transitions: Transitions) -> None:
    for number in range(5000):
        settle(transitions, f"t{number}")

    assert transitions.known(TaskId("t0")) is None
    assert transitions.known(TaskId("t4999")) is not None


def test_a_task_with_nothing_to_execute_is_settled_by_its_decision(transitions: Transitions) -> None:
    transitions.begin(a_task(workload=None))
    transitions.move(a_task(workload=None), TaskState.DECIDED)

    assert transitions.unsettled() == []


def test_a_resumed_task_is_live_and_not_recorded_again(transitions: Transitions, log: Log) -> None:
    transitions.resume(a_task())

    assert transitions.live(TaskId("t")) == a_task()
    assert log.told == []
