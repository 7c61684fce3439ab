"""Calls that the gateway passes on are counted like all others, one by one or together, and are on the ledger."""

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.simulated import LoopClock, simulate

from conductor.app.serving.call_entries import CallEntries
from conductor.app.serving.calls import CallJournal, Ending
from conductor.app.serving.relayed import Heard, RelayedCalls, Row
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.generation import Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelName

ROW = Row(category=Category("chat"), model=ModelName("http://there/v1#m"))
TOOK = Usage(prompt_tokens=3, completion_tokens=5)


class Answer:
    """What the relay knows of one."""

    def __init__(self, status: int = 200, events: int = 0) -> None:
        self.status, self.events = status, events


def heard(ending: Ending, begun_s: float) -> Heard:
    call: Any = Heard(begun_s)
    call.abandoned = ending is Ending.CANCELLED
    call.answer = None if ending is Ending.FAILED else Answer(400 if ending is Ending.REFUSED else 200)
    call.error = ModelError("it broke") if ending is Ending.FAILED else None
    return call


class Books:
    """Everything that hears of calls, in a loop whose time jumps."""

    def __init__(self, **bounds: float) -> None:
        self.clock, self.statistics = LoopClock(), ServingStatistics()
        self.entries: list[tuple[str, str, JsonObject]] = []
        self.ledger = CallEntries(lambda kind, subject, body: self.entries.append((kind, subject, body)))
        self.journal = CallJournal([self.ledger.on_calls])
        self.calls = RelayedCalls(clock=self.clock, statistics=self.statistics, journal=self.journal, **bounds)
        self.calls.listen(self.ledger.on_group)

    def pass_on(self, number: int, ending: Ending = Ending.SUCCEEDED, took_s: float = 0.0) -> None:
        now_s = self.clock.monotonic_s()
        self.calls.began(ROW, now_s)
        usage = TOOK if ending is Ending.SUCCEEDED else None
        self.calls.ended(ROW, "m", heard(ending, now_s - took_s), usage, traceparent(number), now_s)

    async def close(self) -> None:
        self.journal.close()
        await self.journal.run()
        self.calls.flush()
        self.ledger.flush()

    def tally(self) -> Any:
        return self.statistics.as_json(self.clock.monotonic_s())["models"][ROW.model]  # type: ignore[index, call-overload]


def traceparent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def identifier(number: int) -> str:
    return traceparent(number)[3:52]


def test_a_few_calls_have_entries_of_their_own_named_by_the_clients_trace() -> None:
    async def some() -> Books:
        books = Books()
        for number, ending in enumerate(Ending, start=1):
            books.pass_on(number, ending)
        await books.close()
        return books

    books = simulate(some())

    assert [(kind, subject) for kind, subject, _ in books.entries] == [
        ("generation", identifier(number)) for number in (1, 2, 3, 4)
    ]
    assert [body["ending"] for *_, body in books.entries] == [ending.value for ending in Ending]
    assert books.entries[0][2]["completion_tokens"] == 5


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(list(Ending)), st.floats(0.0005, 5000)), min_size=1, max_size=80),
    st.integers(0, 80),
)
def test_what_is_counted_does_not_depend_on_how_it_is_told(calls: list[tuple[Ending, float]], apart: int) -> None:
    async def tallies(at_once: float) -> Any:
        books = Books(each_per_s=0.0, at_once=at_once)
        for number, (ending, took_s) in enumerate(calls):
            books.pass_on(number, ending, took_s)
        tally = books.tally()
        await books.close()
        entries = sum(int(str(body.get("calls", 1))) for *_, body in books.entries)
        return tally, entries

    alone, entries_alone = simulate(tallies(1000.0))
    together, entries_together = simulate(tallies(float(apart)))

    means = [pytest.approx(alone["latency"].pop("mean_ms"))], [together["latency"].pop("mean_ms")]
    assert means[0] == means[1]
    assert together == alone
    assert entries_alone == entries_together == len(calls)


def test_calls_beyond_the_few_are_summed_and_whoever_kept_their_names_can_check_the_sum() -> None:
    async def many() -> Books:
        books = Books(each_per_s=0.0, at_once=10.0)
        for number in range(1000):
            books.pass_on(number, Ending.FAILED if number == 500 else Ending.SUCCEEDED, took_s=0.5)
        await books.close()
        return books

    books = simulate(many())

    kinds = [kind for kind, *_ in books.entries]
    assert sorted(kinds) == ["generation"] * 10 + ["generations"]
    body = books.entries[kinds.index("generations")][2]
    names = "".join(f"{identifier(number)}\n" for number in range(10, 1000))
    assert body["call_ids_sha256"] == hashlib.sha256(names.encode()).hexdigest()
    assert (body["calls"], body["succeeded"], body["failed"], body["mean_ms"]) == (990, 989, 1, 500)
    assert (body["prompt_tokens"], body["completion_tokens"]) == (989 * 3, 989 * 5)


def test_sums_are_written_a_minute_after_their_first_call_and_the_few_come_back_with_time() -> None:
    async def minutes() -> list[tuple[float, str]]:
        books, written = Books(each_per_s=1.0, at_once=2.0), []
        books.ledger._write = lambda kind, *_: written.append((round(books.clock.monotonic_s()), kind))
        tasks = [asyncio.create_task(one.run()) for one in (books.calls, books.ledger, books.journal)]
        for number in range(5):
            books.pass_on(number)
        await asyncio.sleep(100)
        books.pass_on(6)
        await asyncio.sleep(100)
        for task in tasks:
            task.cancel()
        return written

    assert simulate(minutes()) == [(0, "generation"), (0, "generation"), (60, "generations"), (100, "generation")]


def test_statistics_that_are_read_know_of_calls_that_wait_to_be_told() -> None:
    async def one() -> Any:
        books = Books(each_per_s=0.0, at_once=0.0)
        books.pass_on(1)
        return books.tally()

    tally = simulate(one())

    assert (tally["count"], tally["running"], tally["completion_tokens"]) == (1, 0, 5)


def test_events_of_a_stream_are_counted_where_nobody_told_the_tokens() -> None:
    async def one(**bounds: float) -> list[JsonObject]:
        books = Books(**bounds)
        call: Any = Heard(0.0)
        call.answer, call.abandoned, call.upstream = Answer(events=7), False, "there"
        books.calls.began(ROW, 0.0)
        books.calls.ended(ROW, "m", call, None, None, 1.0)
        await books.close()
        return [body for *_, body in books.entries]

    (alone,) = simulate(one())
    (together,) = simulate(one(each_per_s=0.0, at_once=0.0))

    assert (alone["completion_tokens"], alone["is_estimate"]) == (7, True)
    assert (together["completion_tokens"], together["estimated_tokens"]) == (7, 7)


def test_what_the_client_did_wrong_is_no_failure() -> None:
    call: Any = Heard(0.0)
    call.error = InvalidInput("no")
    assert call.ending is Ending.REFUSED
