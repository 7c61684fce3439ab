from conductor.domain.decision import NodeScore, Ranking
from conductor.domain.device import DeviceType
from conductor.domain.node import NodeId
from conductor.domain.task import Level, TaskId
from conductor.domain.units import GIB
from conductor.scheduling.pending import Circumstances, why_pending
from conductor.scheduling.pools import Pool, Shortage
from conductor.scheduling.queue import Ahead

AHEAD = Ahead(tasks=9, cost=9.0, by_level={Level.CRITICAL: 2, Level.HIGH: 0, Level.MEDIUM: 6, Level.LOW: 1})
LACKING = Shortage(
    node_id=NodeId("desk"), pool=Pool.MEMORY, needed=4 * GIB, free=GIB, total=8 * GIB, promised_to=TaskId("t1")
)
REJECTED = NodeScore(
    node_id=NodeId("desk"), score=0, thermal=1, queue=1, capability=0, history=0.6, rejected_because="silent for 40.0 s"
)
NOWHERE = Ranking(
    device=DeviceType.GPU, best=(), rejected=(REJECTED,), node_availability=0.0, resource_availability=0.0
)


def test_tasks_ahead_are_counted_by_level_and_give_a_time_to_start() -> None:
    pending = why_pending(Circumstances(level=Level.MEDIUM, ahead=AHEAD, served_per_s=2.0))

    assert pending.starts_in_s == 5.0
    assert pending.sentence == (
        "9 tasks are ahead of it (2 of higher level, 6 of the same level, 1 of lower level); should start in 5.0 s"
    )
    assert [reason.code for reason in pending.reasons] == ["queue.ahead"]
    assert pending.reasons[0].details == {"ahead": 9, "by_level": {"critical": 2, "medium": 6, "low": 1}}


def test_a_lack_is_told_with_its_numbers_and_who_has_the_promise() -> None:
    (reason,) = why_pending(Circumstances(level=Level.LOW, shortage=LACKING)).reasons

    assert reason.code == "pool.memory"
    assert reason.sentence == (
        "waits for memory: needs 4.0 GiB of memory; desk has 1.0 GiB of 8.0 GiB free, the rest is kept for task t1"
    )
    assert reason.details == {
        "node": "desk",
        "needed": 4 * GIB,
        "free": GIB,
        "total": 8 * GIB,
        "promised_to": "t1",
    }


def test_a_fleet_without_a_fitting_node_tells_every_cause_and_no_time() -> None:
    pending = why_pending(Circumstances(level=Level.LOW, ranking=NOWHERE, ahead=AHEAD, served_per_s=2.0))

    assert [reason.code for reason in pending.reasons] == ["fleet.no_node", "queue.ahead"]
    assert pending.reasons[0].sentence == "no node can take it on GPU or a substitute (desk: silent for 40.0 s)"
    assert pending.starts_in_s is None


def test_a_delayed_repetition_starts_when_its_delay_is_over() -> None:
    pending = why_pending(Circumstances(level=Level.LOW, retry_in_s=2.25, attempt=3))

    assert pending.sentence == "attempt 3 failed; the next may start in 2.2 s"
    assert pending.starts_in_s == 2.25
    assert pending.reasons[0].code == "retry.delay"


def test_a_paused_queue_comes_first_and_takes_the_estimate_away() -> None:
    pending = why_pending(Circumstances(level=Level.LOW, ahead=AHEAD, shortage=LACKING, paused=True, served_per_s=1.0))

    assert [reason.code for reason in pending.reasons] == ["queue.paused", "pool.memory", "queue.ahead"]
    assert pending.starts_in_s is None


def test_the_next_task_is_told_that_it_is_next() -> None:
    nothing_ahead = Ahead(tasks=0, cost=0.0, by_level={})

    pending = why_pending(Circumstances(level=Level.HIGH, ahead=nothing_ahead, served_per_s=4.0))

    assert [reason.code for reason in pending.reasons] == ["next"]
    assert pending.starts_in_s == 0.25
