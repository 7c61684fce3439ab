"""Prometheus sees every call that ended, under labels whose number is bounded."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conductor.app.metrics import Metrics
from conductor.app.serving.call_groups import Brief, CallGroup
from conductor.app.serving.calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.domain.model import Category, ModelName

LABELS = ("category", "model", "ending")


def record(outcome: CallOutcome, *, category: str = "translation", model: str = "owner/name") -> CallRecord:
    decision = CallDecision(
        call_id="1",
        asked_for="auto",
        category=Category(category),
        model=ModelName(model),
        title="Name",
        why="",
        probability=None,
        table_digest="",
        decided_at_unix_s=0.0,
    )
    return CallRecord(decision, outcome)


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values by category, model and, where it is a label, ending, of samples with this name."""
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return {
        tuple(sample.labels[label] for label in LABELS if label in sample.labels): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


async def told(metrics: Metrics, *records: CallRecord) -> None:
    journal = CallJournal()
    journal.listen(metrics.calls.on_calls)
    for each in records:
        journal.put(each)
    journal.close()
    await journal.run()


def test_calls_are_counted_by_ending_and_timed_where_there_was_something_to_time() -> None:
    metrics, key = Metrics(), ("translation", "owner/name")
    answered = CallOutcome(ending=Ending.SUCCEEDED, completion_tokens=7, first_token_s=0.02, duration_s=2.0)
    left = CallOutcome(ending=Ending.CANCELLED, completion_tokens=3, first_token_s=0.2, duration_s=9.0)
    refused = CallOutcome(ending=Ending.REFUSED)

    asyncio.run(told(metrics, record(answered), record(answered), record(left), record(refused)))

    assert samples(metrics, "conductor_generations_total") == {
        (*key, "succeeded"): 2,
        (*key, "cancelled"): 1,
        (*key, "refused"): 1,
    }
    assert samples(metrics, "conductor_generated_tokens_total") == {key: 17}
    assert samples(metrics, "conductor_generation_seconds_count") == {key: 2}
    assert samples(metrics, "conductor_generation_seconds_sum") == {key: 4.0}
    assert samples(metrics, "conductor_generation_first_token_seconds_count") == {key: 3}


def test_models_that_come_and_go_share_one_label_in_the_end() -> None:
    metrics, outcome = Metrics(), CallOutcome(ending=Ending.SUCCEEDED, duration_s=1.0)

    asyncio.run(told(metrics, *(record(outcome, model=f"owner/{number}") for number in range(500))))

    counted = samples(metrics, "conductor_generations_total")
    assert len(counted) == 101
    assert counted["translation", "owner/0", "succeeded"] == 1
    assert counted["others", "others", "succeeded"] == 400


def test_relayed_calls_that_are_told_together_are_in_the_same_families_and_classes() -> None:
    metrics, key = Metrics(), ("translation", "owner/name")
    briefs = [
        Brief(str(number), ending, 0.0, 0.1 * number, None if number % 2 else 0.01, 1, 2, 0, "", "")
        for number, ending in enumerate([Ending.SUCCEEDED] * 40 + [Ending.FAILED])
    ]
    alone = [
        CallOutcome(
            ending=brief.ending, completion_tokens=2, first_token_s=brief.first_token_s, duration_s=brief.duration_s
        )
        for brief in briefs
    ]
    one_by_one = Metrics()
    asyncio.run(told(one_by_one, *map(record, alone)))

    metrics.calls.on_group(CallGroup.of(Category(key[0]), ModelName(key[1]), "", 0.0, briefs))

    together, apart = (
        [line for line in each.render()[0].decode().splitlines() if "conductor_gen" in line and "_sum" not in line]
        for each in (metrics, one_by_one)
    )
    assert together == apart
    assert samples(metrics, "conductor_generations_total")[*key, "succeeded"] == 40
    assert samples(metrics, "conductor_generation_seconds_sum")[key] == pytest.approx(78.0)
