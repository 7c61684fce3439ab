import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.decision import Need
from conductor.domain.device import Device, DeviceType
from conductor.domain.errors import NotFound
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.domain.task import TaskId
from conductor.domain.units import GIB
from conductor.scheduling.place import PlacementTable
from conductor.scheduling.score import WEIGHTS

CPU, GPU, NPU, VIDEO, DSP = DeviceType.CPU, DeviceType.GPU, DeviceType.NPU, DeviceType.VIDEO, DeviceType.DSP


def a_node(name: str, *, cores: int = 8, memory_gib: int = 16, **others: tuple[int, int]) -> Node:
    """A node with a processor and further devices as `GPU=(compute units, GiB of its own)`."""
    devices = [Device(device_id="cpu", type=CPU, name="cpu", compute_units=cores)]
    devices += [
        Device(device_id=kind, type=DeviceType(kind), name=kind, compute_units=units, memory_bytes=own_gib * GIB)
        for kind, (units, own_gib) in others.items()
    ]
    return Node(
        node_id=NodeId(name),
        hostname=name,
        architecture="x86_64",
        operating_system="Linux",
        logical_cores=cores,
        memory_bytes=memory_gib * GIB,
        devices=tuple(devices),
    )


def a_fleet(*nodes: Node) -> PlacementTable:
    table = PlacementTable(silence_s=10.0)
    for node in nodes:
        table.upsert(node, heard_at_s=100.0)
    return table


def observe(
    table: PlacementTable,
    name: str,
    *,
    heard_at_s: float = 100.0,
    thermal: float = 1.0,
    celsius: float | None = None,
    free_gib: float = 16,
    free_vram_gib: float | None = None,
    busy: float = 0.0,
    history: float | None = None,
    queued: int | None = None,
) -> None:
    reading = NodeReading(
        node_id=NodeId(name),
        taken_at_unix_s=0.0,
        cpu_utilisation=busy,
        free_memory_bytes=int(free_gib * GIB),
        free_disk_bytes=0,
        load_average_1m=0.0,
        cpu_temperature_celsius=celsius,
        free_vram_bytes=None if free_vram_gib is None else int(free_vram_gib * GIB),
    )
    table.observe(reading, heard_at_s=heard_at_s, thermal=thermal, history=history, queued=queued)


def need(device: DeviceType = CPU, *, units: float = 1.0, gib: float = 1.0, **more: object) -> Need:
    return Need(device=device, compute_units=units, memory_bytes=int(gib * GIB), **more)


def names(places: object) -> list[str]:
    return [place.node_id for place in places]


def test_the_best_three_come_best_first_and_equals_keep_the_order_in_which_they_were_known() -> None:
    table = a_fleet(*(a_node(name) for name in "abcde"))
    observe(table, "d", history=0.9)
    observe(table, "a", thermal=0.5)

    assert names(table.rank(need()).best) == ["d", "b", "c"]


def test_among_many_equals_the_first_known_win() -> None:
    assert names(a_fleet(*(a_node(f"n{i}") for i in range(500))).rank(need()).best) == ["n0", "n1", "n2"]


def test_a_task_that_starts_again_elsewhere_counts_there_only() -> None:
    table = a_fleet(a_node("a"), a_node("b"))
    for name in ("a", "b"):
        table.started(TaskId("t"), NodeId(name), device=CPU, compute_units=8, memory_bytes=GIB)

    assert {place.node_id: place.queue for place in table.rank(need()).best} == {"a": 1.0, "b": 8 / 9}


def test_the_score_is_the_weighted_sum_of_four_parts() -> None:
    table = a_fleet(a_node("a", cores=4, memory_gib=8))
    observe(table, "a", thermal=0.5, busy=0.5, free_gib=2, history=0.9, queued=4)

    (best,) = table.rank(need(units=4, gib=4)).best

    assert (best.thermal, best.queue, best.capability, best.history) == (0.5, 0.5, 0.5, 0.9)
    assert best.score == pytest.approx(0.4 * 0.5 + 0.3 * 0.5 + 0.2 * 0.5 + 0.1 * 0.9)


def test_those_behind_are_told_what_cost_them_most() -> None:
    table = a_fleet(a_node("cool"), a_node("hot"), a_node("busy"))
    observe(table, "cool", celsius=50.0)
    observe(table, "hot", celsius=62.0, thermal=0.7)
    observe(table, "busy", celsius=50.0, queued=4)

    remarks = {place.node_id: place.remark for place in table.rank(need()).best}

    assert remarks == {"cool": "", "busy": "queue 4 deeper", "hot": "12 °C hotter"}


def test_a_node_behind_by_capability_or_record_is_told_the_numbers() -> None:
    table = a_fleet(a_node("large", cores=16), a_node("small", cores=4), a_node("shaky", cores=16))
    for name in ("large", "small", "shaky"):
        observe(table, name, history=0.4 if name == "shaky" else 0.9)

    remarks = {place.node_id: place.remark for place in table.rank(need(units=8)).best}

    assert remarks == {
        "large": "",
        "small": "4 of the needed 8 compute units free",
        "shaky": "weaker record (0.40 against 0.90)",
    }


def test_the_rejected_are_told_why() -> None:
    table = a_fleet(
        a_node("good", GPU=(40, 24)),
        a_node("silent", GPU=(40, 24)),
        a_node("small", GPU=(40, 8), memory_gib=64),
        a_node("without"),
        a_node("out", GPU=(40, 24)),
        a_node("drained", GPU=(40, 24)),
    )
    for name in ("good", "small", "without", "out", "drained"):
        observe(table, name, heard_at_s=140.0)
    table.drain(NodeId("drained"))
    table.advance(140.0)

    ranking = table.rank(need(GPU, gib=24, excluded=frozenset({NodeId("out")})))

    assert names(ranking.best) == ["good"]
    assert {place.node_id: place.rejected_because for place in ranking.rejected} == {
        "silent": "silent for 40.0 s",
        "small": "needs 24.0 GiB but has 8.0 GiB",
        "without": "no such device (GPU)",
        "out": "excluded for this task",
        "drained": "drained: takes no new work",
    }


def test_a_pin_leaves_one_node_and_tells_the_others() -> None:
    table = a_fleet(a_node("a"), a_node("b"))

    ranking = table.rank(need(pinned_node=NodeId("b")))

    assert names(ranking.best) == ["b"]
    assert [place.rejected_because for place in ranking.rejected] == ["the task is pinned to b"]


@pytest.mark.parametrize("nowhere", [{"pinned_node": NodeId("gone")}, {"gib": 999.0}])
def test_without_any_able_node_the_ranking_is_empty_and_says_why(nowhere: dict[str, object]) -> None:
    ranking = a_fleet(a_node("a")).rank(need(GPU, **nowhere))

    assert ranking.best == ()
    assert (ranking.node_availability, ranking.resource_availability) == (0.0, 0.0)
    assert len(ranking.rejected) == 1
    assert ranking.rejected[0].rejected_because != ""


def test_an_unknown_fleet_offers_nothing() -> None:
    table = PlacementTable()

    assert table.offered_devices() == frozenset()
    assert table.rank(need(GPU)).best == ()


@pytest.mark.parametrize(
    ("asked", "fleet", "given"),
    [
        (NPU, {"GPU": (40, 8)}, GPU),
        (NPU, {"VIDEO": (1, 0)}, CPU),
        (VIDEO, {"GPU": (40, 8)}, GPU),
        (DSP, {"GPU": (40, 8)}, CPU),
        (GPU, {"NPU": (10, 0)}, CPU),
    ],
)
def test_a_device_nobody_has_is_replaced_by_the_nearest(
    asked: DeviceType, fleet: dict[str, tuple[int, int]], given: DeviceType
) -> None:
    ranking = a_fleet(a_node("a", **fleet)).rank(need(asked))

    assert ranking.device is given
    assert ranking.best[0].remark == f"{given} stands in: no node has a device of type {asked}"


def test_a_device_that_cannot_take_the_task_is_replaced_and_the_reason_given() -> None:
    table = a_fleet(a_node("rig", GPU=(40, 8), memory_gib=64), a_node("other", memory_gib=64))

    ranking = table.rank(need(GPU, gib=24))

    assert ranking.device is CPU
    assert ranking.best[0].remark == "CPU stands in for GPU: rig cannot take it (needs 24.0 GiB but has 8.0 GiB)"
    assert ranking.best[0].capability == 0.5


def test_running_tasks_take_room_until_they_have_finished_however_often_that_is_told() -> None:
    table = a_fleet(a_node("a", cores=2, memory_gib=4))
    idle = table.rank(need(units=2, gib=4))
    for number in range(2):
        table.started(TaskId(f"t{number}"), NodeId("a"), device=CPU, compute_units=1.0, memory_bytes=2 * GIB)
    full = table.rank(need(units=2, gib=4))
    for task in ("t0", "t1", "t1", "unknown"):
        table.finished(TaskId(task))

    assert (idle.node_availability, idle.resource_availability) == (1.0, 1.0)
    assert (full.node_availability, full.resource_availability) == (0.0, 0.0)
    assert full.best[0].queue == 0.5
    assert table.rank(need(units=2, gib=4)) == idle


def test_a_graphics_card_is_measured_by_its_own_memory() -> None:
    table = a_fleet(a_node("a", GPU=(40, 24), memory_gib=8))
    observe(table, "a", free_gib=1, free_vram_gib=24)
    table.started(TaskId("on the processor"), NodeId("a"), device=CPU, compute_units=1, memory_bytes=8 * GIB)

    ranking = table.rank(need(GPU, units=40, gib=24))

    assert (ranking.device, ranking.resource_availability) == (GPU, 1.0)


def test_a_new_description_keeps_what_runs_on_the_node() -> None:
    table = a_fleet(a_node("a", GPU=(40, 0)))
    table.started(TaskId("t"), NodeId("a"), device=GPU, compute_units=40, memory_bytes=4 * GIB)
    table.upsert(a_node("a", GPU=(40, 24)), heard_at_s=100.0)
    taken = table.rank(need(GPU, units=40, gib=24)).resource_availability
    table.finished(TaskId("t"))

    assert taken == pytest.approx((0 + 20 / 24) / 2)
    assert table.rank(need(GPU, units=40, gib=24)).resource_availability == 1.0
    assert table.rank(need(CPU, gib=16)).resource_availability == 1.0


def test_a_silent_node_is_back_when_it_is_heard_again() -> None:
    table = a_fleet(a_node("a"))
    table.advance(111.0)
    silent = table.rank(need())
    observe(table, "a", heard_at_s=112.0)

    assert silent.best == ()
    assert names(table.rank(need()).best) == ["a"]


def test_a_node_that_left_is_forgotten_and_the_others_keep_their_own_values() -> None:
    table = a_fleet(a_node("a", GPU=(40, 8)), a_node("b"), a_node("c", NPU=(10, 0)))
    observe(table, "c", history=0.9)
    table.started(TaskId("t"), NodeId("a"), device=GPU, compute_units=1, memory_bytes=GIB)
    table.remove(NodeId("a"))
    table.finished(TaskId("t"))

    assert len(table) == 2
    assert table.offered_devices() == {CPU, NPU}
    assert [(place.node_id, place.history) for place in table.rank(need()).best] == [("c", 0.9), ("b", 0.6)]
    with pytest.raises(NotFound, match="there is no node 'a'"):
        table.drain(NodeId("a"))


def test_every_change_that_may_matter_changes_the_version() -> None:
    table = a_fleet(a_node("a"))
    versions = [table.version]
    for change in (
        lambda: observe(table, "a", queued=3),
        lambda: table.started(TaskId("t"), NodeId("a"), device=CPU, compute_units=1, memory_bytes=0),
        lambda: table.finished(TaskId("t")),
        lambda: table.drain(NodeId("a")),
        lambda: table.drain(NodeId("a"), drained=False),
        lambda: table.advance(200.0),
        lambda: table.remove(NodeId("a")),
    ):
        change()
        versions.append(table.version)

    assert len(set(versions)) == len(versions)


def test_why_not_shows_what_each_part_cost_a_node() -> None:
    table = a_fleet(a_node("winner"), a_node("loser"), a_node("out"))
    observe(table, "loser", queued=8, thermal=0.9)
    table.drain(NodeId("out"))

    lost, out = (table.why_not(need(), NodeId(name)) for name in ("loser", "out"))

    assert lost.winner is not None
    assert lost.winner.node_id == "winner"
    assert lost.differences == pytest.approx({"thermal": -0.04, "queue": -0.15, "capability": 0.0, "history": 0.0})
    assert lost.node.remark == "queue 8 deeper, thermal state 0.90 against 1.00"
    assert out.node.rejected_because == "drained: takes no new work"
    assert (out.node.score, out.score_if_able) == (0.0, lost.winner.score)


readings = st.tuples(
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 16), st.integers(0, 30), st.sampled_from([2, 8, 32])
)


@given(
    st.lists(readings, min_size=1, max_size=40), st.sampled_from(list(DeviceType)), st.floats(0, 64), st.floats(0, 20)
)
def test_ranking_agrees_with_scoring_one_node_after_the_other(
    drawn: list[tuple[float, float, float, float, int, int]], device: DeviceType, units: float, gib: float
) -> None:
    table = a_fleet(*(a_node(f"n{i}", cores=row[5]) for i, row in enumerate(drawn)))
    for i, (thermal, history, busy, free_gib, queued, _) in enumerate(drawn):
        observe(table, f"n{i}", thermal=thermal, history=history, busy=busy, free_gib=free_gib, queued=queued)
    wanted = need(device, units=units, gib=gib)

    ranking = table.rank(wanted)

    halves = 0.5 ** {CPU: 0, GPU: 1, DSP: 1}.get(device, 2)
    expected = []
    for i, (thermal, history, busy, free_gib, queued, cores) in enumerate(drawn):
        if wanted.memory_bytes <= 16 * GIB:
            unit_share = min(1.0, cores * (1 - busy) / units) if units else 1.0
            memory_share = min(1.0, int(free_gib * GIB) / wanted.memory_bytes) if wanted.memory_bytes else 1.0
            queue = cores / (cores + queued)
            capability = halves * (unit_share + memory_share) / 2
            expected.append((0.4 * thermal + 0.3 * queue + 0.2 * capability + 0.1 * history, f"n{i}"))
    expected.sort(key=lambda pair: -pair[0])
    assert [place.score for place in ranking.best] == pytest.approx([score for score, _ in expected[:3]], abs=1e-9)
    assert len(ranking.rejected) == min(10, len(drawn) - len(expected))
    for place in ranking.best:
        parts = {name: getattr(place, name) for name in WEIGHTS}
        assert all(0.0 <= part <= 1.0 for part in parts.values())
        assert place.score == pytest.approx(sum(WEIGHTS[name] * part for name, part in parts.items()))
