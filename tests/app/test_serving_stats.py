"""What is shown of many calls is true of them, and what is kept of them is bounded."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from conductor.app.serving.calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.app.serving.statistics import ServingStatistics, Times
from conductor.domain.model import Category, ModelName

DURATIONS = st.lists(st.floats(0.001, 3000), min_size=1, max_size=200)


def record(number: int, category: str = "chat") -> CallRecord:
    decision = CallDecision(
        call_id=str(number),
        asked_for="auto",
        category=Category(category),
        model=ModelName("m"),
        title="M",
        why="",
        probability=None,
        table_digest="",
        decided_at_unix_s=0.0,
    )
    return CallRecord(decision, CallOutcome(ending=Ending.SUCCEEDED, prompt_tokens=1, completion_tokens=2))


@given(DURATIONS, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_shown_quantile_is_never_below_the_true_one_and_at_most_a_quarter_above(
    durations: list[float], share: float
) -> None:
    times = Times()
    for duration in durations:
        times.add(duration)
    ordered = sorted(durations)
    true = next(value for place, value in enumerate(ordered, start=1) if place >= share * len(ordered))

    shown = times.quantile(share)

    assert shown is not None
    assert true * 0.9999 <= shown <= true * 1.2501


def test_names_that_come_and_go_do_not_grow_the_statistics() -> None:
    statistics = ServingStatistics()
    for number in range(3000):
        one = record(number, f"category {number}")
        statistics.began(one.decision.category, one.decision.model)
        statistics.ended(one)
    engines = statistics.as_json()["engines"]

    assert isinstance(engines, dict)
    assert len(engines) <= 1001
    assert sum(engine["count"] for engine in engines.values()) == 3000
    assert all(engine["running"] == 0 for engine in engines.values())


def test_a_journal_hands_on_everything_in_order_and_what_is_left_at_the_end() -> None:
    told: list[str] = []

    async def listen(records: Sequence[CallRecord]) -> None:
        assert len(records) <= 1000
        told.extend(one.decision.call_id for one in records)

    async def tell() -> int:
        journal = CallJournal([listen])
        for number in range(12_000):
            journal.put(record(number))
        journal.close()
        await journal.run()
        return journal.dropped

    assert asyncio.run(tell()) == 2_000
    assert told == [str(number) for number in range(2_000, 12_000)]
