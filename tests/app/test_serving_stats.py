"""What is shown of many calls is true of them, and what is kept of them is bounded."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from conductor.app.serving.calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.app.serving.statistics import ServingStatistics, Tally, Times
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
        statistics.began(one.decision.category, one.decision.model, 0.0)
        statistics.ended(one, 1.0)
    engines = statistics.as_json(1.0)["engines"]

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


def outcome(ending: Ending, error: str = "", code: str = "model", tokens: int = 0) -> CallOutcome:
    return CallOutcome(ending=ending, error=error, error_code=code, completion_tokens=tokens, duration_s=1.0)


def counted(*endings: Ending, at_s: float = 0.0, tally: Tally | None = None) -> Tally:
    tally = tally or Tally()
    for ending in endings:
        tally.begin(at_s)
        tally.leave(at_s)
        tally.add(outcome(ending, error="it broke" if ending is Ending.FAILED else ""), at_s)
    return tally


def test_callers_who_leave_or_ask_nonsense_are_no_failures_and_no_successes() -> None:
    tally = counted(*[Ending.SUCCEEDED] * 3, Ending.FAILED, *[Ending.CANCELLED] * 5, *[Ending.REFUSED] * 7)

    shown = tally.as_json(1.0)

    assert (shown["success_rate"], shown["count"], shown["cancelled"], shown["refused"]) == (0.75, 16, 5, 7)
    assert Tally().as_json(1.0)["success_rate"] is None


def test_tokens_a_second_are_those_of_the_time_in_which_there_was_work() -> None:
    tally = Tally()
    tally.begin(0.0)
    tally.begin(1.0)  # beside the first
    for now_s in (2.0, 4.0):
        tally.leave(now_s)
        tally.add(outcome(Ending.SUCCEEDED, tokens=100), now_s)

    later = tally.as_json(1000.0)

    assert (later["busy_s"], later["tokens_per_s"]) == (4.0, 50.0)


def test_a_model_of_whose_last_calls_half_failed_is_failing_until_it_does_better() -> None:
    tally = counted(*[Ending.FAILED] * 4)
    assert tally.trouble(0.0) == ""  # too few to say

    counted(Ending.SUCCEEDED, *[Ending.CANCELLED] * 3, tally=tally)
    assert tally.trouble(0.0) == "4 of its last 5 calls failed (it broke)"

    counted(*[Ending.SUCCEEDED] * 4, tally=tally)
    assert tally.trouble(0.0) == ""


def test_failures_are_forgiven_when_nobody_asked_for_a_while() -> None:
    tally = counted(*[Ending.FAILED] * 20)

    assert tally.trouble(599.0) != ""
    assert tally.trouble(601.0) == ""


def test_why_a_model_fails_is_told_by_the_failures_and_not_by_the_rest_after_them() -> None:
    tally = Tally()
    for error, code in [("answered 500", "model.endpoint")] * 3 + [("it rests", "model.busy")] * 3:
        tally.add(outcome(Ending.FAILED, error, code), 0.0)

    assert tally.trouble(0.0) == "6 of its last 6 calls failed (answered 500)"
