import pytest

from conductor.domain.device import Device, DeviceType
from conductor.domain.errors import NotFound
from conductor.domain.node import Node, NodeId, NodeReading
from conductor.fleet.roster import Change, Roster


class HandClock:
    """Time that passes when told to; wall time jumps as it likes."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 0.0, 1_700_000_000.0

    def now_unix_s(self) -> float:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic


def a_node(name: str, *types: DeviceType) -> Node:
    devices = tuple(Device(device_id=f"{t}:0", type=t, name=t, compute_units=1) for t in types)
    return Node(
        node_id=NodeId(name), hostname=name, architecture="x86_64", operating_system="Linux",
        logical_cores=4, memory_bytes=1, devices=devices,
    )  # fmt: skip


def a_reading(name: str, taken_at_unix_s: float = 0.0) -> NodeReading:
    return NodeReading(
        node_id=NodeId(name), taken_at_unix_s=taken_at_unix_s, cpu_utilisation=0.5, free_memory_bytes=1,
        free_disk_bytes=1, load_average_1m=0.0,
    )  # fmt: skip


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def roster(clock: HandClock) -> Roster:
    return Roster(clock=clock, silence_s=5.0)


@pytest.fixture
def heard(roster: Roster) -> list[tuple[Change, str]]:
    changes: list[tuple[Change, str]] = []
    roster.listen(lambda change, member: changes.append((change, member.node_id)))
    return changes


def test_a_node_that_joins_is_present_until_it_has_been_silent_too_long(roster: Roster, clock: HandClock) -> None:
    roster.join(a_node("a", DeviceType.GPU))
    clock.monotonic = 5.0
    assert [m.node_id for m in roster.present()] == ["a"]

    clock.monotonic = 5.1

    assert roster.present() == ()
    assert roster.offered_devices() == frozenset()
    assert [m.node_id for m in roster.members()] == ["a"]
    assert roster.silent_for_s(NodeId("a")) == pytest.approx(5.1)


def test_silence_is_told_once_and_the_return_too(
    roster: Roster, clock: HandClock, heard: list[tuple[Change, str]]
) -> None:
    roster.join(a_node("a"))
    roster.join(a_node("b"))
    clock.monotonic = 4.0
    roster.hear(a_reading("b"))
    clock.monotonic = 6.0

    assert [m.node_id for m in roster.sweep()] == ["a"]
    assert roster.sweep() == ()
    roster.hear(a_reading("a"))

    assert heard == [
        (Change.JOINED, "a"),
        (Change.JOINED, "b"),
        (Change.READING, "b"),
        (Change.SILENT, "a"),
        (Change.RETURNED, "a"),
    ]
    assert {m.node_id for m in roster.present()} == {"a", "b"}


def test_a_wall_clock_that_jumps_silences_nobody(roster: Roster, clock: HandClock) -> None:
    roster.join(a_node("a"))
    clock.wall += 1e9
    clock.monotonic = 1.0

    assert roster.hear(a_reading("a", taken_at_unix_s=-1e9))
    assert roster.sweep() == ()
    assert roster.member(NodeId("a")).reading == a_reading("a", taken_at_unix_s=-1e9)


def test_a_restarted_node_leaves_no_ghost(roster: Roster, heard: list[tuple[Change, str]]) -> None:
    first = roster.join(a_node("a", DeviceType.CPU))
    second = roster.join(a_node("a", DeviceType.CPU, DeviceType.GPU))

    assert (first.epoch, second.epoch) == (1, 2)
    assert not roster.hear(a_reading("a"), epoch=1)
    assert not roster.leave(NodeId("a"), epoch=1)
    assert roster.members() == (second,)
    assert roster.hear(a_reading("a"), epoch=2)


def test_epochs_go_on_after_a_farewell_and_in_the_next_process(roster: Roster, clock: HandClock) -> None:
    roster.join(a_node("a"))
    roster.leave(NodeId("a"))
    assert roster.join(a_node("a")).epoch == 2

    later = Roster(clock=clock, silence_s=5.0, epochs=roster.epochs())

    assert later.join(a_node("a")).epoch == 3


def test_strangers_are_not_heard(roster: Roster, heard: list[tuple[Change, str]]) -> None:
    assert not roster.hear(a_reading("stranger"))
    assert not roster.leave(NodeId("stranger"))
    with pytest.raises(NotFound, match="stranger"):
        roster.member(NodeId("stranger"))
    assert heard == []


def test_a_listener_that_went_away_is_told_nothing_more(roster: Roster) -> None:
    told: list[Change] = []
    stop = roster.listen(lambda change, _: told.append(change))
    roster.join(a_node("a"))
    stop()
    stop()
    roster.leave(NodeId("a"))

    assert told == [Change.JOINED]


def test_the_fleet_offers_the_devices_of_all_who_are_present(roster: Roster) -> None:
    roster.join(a_node("a", DeviceType.CPU, DeviceType.VIDEO))
    roster.join(a_node("b", DeviceType.CPU, DeviceType.NPU))

    assert roster.offered_devices() == {DeviceType.CPU, DeviceType.VIDEO, DeviceType.NPU}
