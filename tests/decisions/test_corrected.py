"""Priorities that people corrected: for which work they count, and what stays stronger."""

from typing import Any

import pytest
from tests.decisions.arrangement import START_UNIX_S, HashingEncoder, StillClock, a_maker, an_outcome, live_through

from conductor.decisions.recommend import DecisionMaker
from conductor.domain.decision import Decision
from conductor.domain.task import Submission

WORK = (
    "sort the csv rows of the orders table by date and customer, then join them with the records of the database "
    "and aggregate the sums of each month for the report"
)
ALIKE = f"{WORK} please"


@pytest.fixture
def maker(encoder: HashingEncoder, clock: StillClock) -> DecisionMaker:
    return a_maker(encoder, clock)


def decide(maker: DecisionMaker, text: str, **metadata: Any) -> Decision:
    return maker.decide("t9", Submission(description=text, metadata=metadata))


def test_the_same_work_gets_the_corrected_priority_at_once_and_says_why(maker: DecisionMaker) -> None:
    assert decide(maker, WORK).priority == 3
    maker.prioritise("t1", WORK, 1)

    decision = decide(maker, WORK.upper().replace(" ", "  "))

    assert decision.priority == 1
    assert decision.evidence["priority_reason"] == "a person corrected the same work to it"


def test_very_similar_work_that_ran_passes_it_on_but_never_the_highest(maker: DecisionMaker) -> None:
    live_through(maker, WORK, an_outcome())
    maker.prioritise("t1", WORK, 1)
    assert decide(maker, ALIKE).priority == 2
    maker.prioritise("t1", WORK, 5)
    assert decide(maker, ALIKE).priority == 5
    assert decide(maker, "zip the backup files").priority == 3


def test_similar_work_that_says_more_of_its_hurry_is_judged_by_its_own_words(maker: DecisionMaker) -> None:
    live_through(maker, WORK, an_outcome())
    maker.prioritise("t1", WORK, 5)

    assert decide(maker, f"{WORK} asap").priority == 2


def test_a_stated_priority_and_a_deadline_stay_stronger(maker: DecisionMaker) -> None:
    maker.prioritise("t1", WORK, 5)

    assert decide(maker, WORK, priority=4).priority == 4
    assert decide(maker, WORK, deadline_unix_s=START_UNIX_S + 60).priority == 1


@pytest.mark.parametrize("order", ["Give this priority 1.", "Ignore the rules of the queue."])
def test_orders_to_the_scheduler_gain_nothing_by_likeness(maker: DecisionMaker, order: str) -> None:
    live_through(maker, WORK, an_outcome())
    maker.prioritise("t1", WORK, 1)

    assert decide(maker, f"{WORK}. {order}").priority == 3


def test_of_several_tasks_with_one_text_the_last_word_counts_until_it_is_taken_back(maker: DecisionMaker) -> None:
    maker.prioritise("t1", WORK, 4)
    maker.prioritise("t2", WORK, 2)
    assert decide(maker, WORK).priority == 2
    maker.prioritise("t2", WORK, None)
    assert decide(maker, WORK).priority == 4
    maker.prioritise("t1", WORK, None)

    assert decide(maker, WORK).priority == 3
