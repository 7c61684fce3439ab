"""Ordering nodes by when a task should be done there: forecasts against score, waiting, trying, failing."""

import pytest

from conductor.domain.decision import Forecast, Need, Ranking
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import Node, NodeId
from conductor.domain.task import TaskId
from conductor.domain.units import GIB
from conductor.scheduling.place import PlacementTable

CPU = DeviceType.CPU
DESK, PI, NEW = NodeId("desk"), NodeId("pi"), NodeId("new")


def a_table(*nodes: NodeId, slots: int = 1) -> PlacementTable:
    table = PlacementTable()
    for node_id in nodes:
        cpu = Device(device_id="cpu", type=CPU, name="cpu", compute_units=8)
        table.upsert(
            Node(
                node_id=node_id,
                hostname=node_id,
                architecture="x86_64",
                operating_system="Linux",
                logical_cores=8,
                memory_bytes=16 * GIB,
                devices=(cpu,),
            ),
            heard_at_s=0.0,
            slots=slots,
        )
    return table


def a_forecast(
    durations_s: dict[NodeId, float],
    *,
    runs: int = 7,
    spread: float = 0.1,
    success: dict[NodeId, float] | None = None,
    elsewhere_s: float = 20.0,
) -> Forecast:
    return Forecast(
        node_ids=tuple(durations_s),
        duration_s=tuple(durations_s.values()),
        spread=[spread] * len(durations_s),
        success=[(success or {}).get(node_id, 0.95) for node_id in durations_s],
        runs=[runs] * len(durations_s),
        elsewhere_s=elsewhere_s,
        elsewhere_spread=0.7,
        elsewhere_success=0.95,
    )


def order(table: PlacementTable, forecast: Forecast | None, *, explore: bool = True) -> Ranking:
    return table.rank(
        Need(
            device=CPU,
            compute_units=1.0,
            memory_bytes=GIB,
            forecast=forecast,
            forecast_device=CPU,
            explore=explore,
        )
    )


def names(ranking: Ranking) -> list[NodeId]:
    return [node.node_id for node in ranking.best]


def started(table: PlacementTable, name: str, node_id: NodeId, expected_s: float) -> None:
    table.started(TaskId(name), node_id, device=CPU, compute_units=1.0, memory_bytes=GIB, expected_s=expected_s)


def test_the_node_where_it_is_done_first_wins_and_the_remark_says_by_what() -> None:
    ranking = order(a_table(PI, DESK), a_forecast({DESK: 12.0, PI: 40.0}))

    assert names(ranking) == [DESK, PI]
    assert ranking.best[0].remark == "expected 12.6 s, from 7 runs"
    assert ranking.best[1].remark == "expected 42.1 s, from 7 runs, against 12.6 s on desk"
    assert [node.expected_runs for node in ranking.best] == [7, 7]


def test_without_a_forecast_for_the_device_the_score_alone_decides() -> None:
    table = a_table(PI, DESK)
    started(table, "other", DESK, 0.0)
    forecast = a_forecast({DESK: 1.0, PI: 40.0})
    for_another = Need(
        device=CPU, compute_units=1.0, memory_bytes=GIB, forecast=forecast, forecast_device=DeviceType.GPU
    )

    assert names(table.rank(for_another)) == names(order(table, None)) == [PI, DESK]
    assert order(table, None).best[0].expected_s is None


def test_equal_expectations_leave_the_choice_to_the_score() -> None:
    table = a_table(PI, DESK, slots=4)
    started(table, "other", PI, 0.0)

    assert names(order(table, a_forecast({PI: 12.0, DESK: 12.0}))) == [DESK, PI]


@pytest.mark.parametrize(("ahead_s", "winner"), [(10.0, DESK), (60.0, PI)])
def test_waiting_for_a_fast_node_is_worth_it_as_long_as_it_is_done_first(ahead_s: float, winner: NodeId) -> None:
    table = a_table(PI, DESK)
    started(table, "ahead", DESK, ahead_s)

    assert names(order(table, a_forecast({DESK: 12.0, PI: 40.0})))[0] == winner


def test_the_wait_is_the_sum_of_what_was_promised_and_follows_what_really_happened() -> None:
    table = a_table(DESK)
    for name in ("a", "b", "c"):
        started(table, name, DESK, 10.0)
    forecast = a_forecast({DESK: 10.0}, success={DESK: 1.0})
    assert order(table, forecast).best[0].expected_s == pytest.approx(40.0)

    table.advance(4.0)
    table.finished(TaskId("a"))  # six seconds early

    assert order(table, forecast).best[0].expected_s == pytest.approx(30.0)
    table.finished(TaskId("b"))
    table.finished(TaskId("c"))
    assert order(table, forecast).best[0].expected_s == pytest.approx(10.0)


def test_a_node_never_tried_is_tried_while_it_could_be_the_best_and_no_longer() -> None:
    table = a_table(DESK, NEW)

    assert names(order(table, a_forecast({DESK: 15.0})))[0] == NEW
    assert names(order(table, a_forecast({DESK: 5.0})))[0] == DESK


def test_work_that_is_no_experiment_goes_where_it_is_known_to_go_well() -> None:
    assert names(order(a_table(DESK, NEW), a_forecast({DESK: 15.0}), explore=False))[0] == DESK


def test_a_fast_node_that_fails_loses_to_a_slower_one_that_does_not() -> None:
    ranking = order(a_table(DESK, PI), a_forecast({DESK: 12.0, PI: 40.0}, success={DESK: 0.1, PI: 0.95}))

    assert names(ranking) == [PI, DESK]


def test_a_forecast_may_name_nodes_that_have_left() -> None:
    assert names(order(a_table(DESK), a_forecast({PI: 1.0, DESK: 12.0}))) == [DESK]
