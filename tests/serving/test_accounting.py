"""The books on callers and models."""

from typing import Any

from conductor.domain.generation import Usage
from conductor.serving.traffic.accounting import Accounting

TOOK = Usage(prompt_tokens=10, completion_tokens=5)


def rows(accounting: Accounting) -> list[Any]:
    return list(accounting.snapshot())


def test_requests_add_up_by_caller_and_model() -> None:
    accounting = Accounting()
    accounting.record("a", "m", seconds=0.02, usage=TOOK)
    accounting.record("a", "m", seconds=0.04, usage=TOOK, failed=True)
    accounting.record("b", "m", seconds=1.5, usage=None, estimated_completion=4, abandoned=True)

    first, second = rows(accounting)
    assert (first["requests"], first["errors"], first["prompt_tokens"], first["completion_tokens"]) == (2, 1, 20, 10)
    assert (first["mean_s"], first["p50_s"], first["p95_s"]) == (0.03, 0.03, 0.1)
    assert (second["completion_tokens"], second["estimated_tokens"], second["abandoned"]) == (4, 4, 1)


def test_totals_stay_true_when_accounts_are_closed() -> None:
    accounting = Accounting(most_accounts=3)
    for number in range(50):
        accounting.record(str(number), "m", seconds=400.0, usage=TOOK)

    total = accounting.total()
    assert len(accounting) == 3
    assert (total.requests, total.prompt_tokens, sum(total.buckets)) == (50, 500, 50)
    assert rows(accounting)[-1]["requests"] == 47


def test_the_tokens_that_count_against_a_limit_are_returned() -> None:
    accounting = Accounting()

    assert accounting.record("a", "m", seconds=0, usage=TOOK) == 15
    assert accounting.record("a", "m", seconds=0, usage=None, estimated_completion=3) == 3
    assert rows(Accounting()) == []
