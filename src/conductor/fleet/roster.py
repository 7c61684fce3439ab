"""Decide who is in the fleet, how each member was when last heard of, and who has fallen silent.

Pure bookkeeping in the caller's thread: the caller reports joins, readings and departures, and calls `sweep` now and
then so that silence is noticed. Silence is measured by our own monotonic clock from the moment a reading arrived: a
node whose wall clock is wrong, or jumps, is not silent for that.

Every join begins a new epoch of its node. A reading or a farewell that carries an older epoch comes from an earlier
life of the node, before a restart, and changes nothing; so no ghost of it stays.

Covered: joining again, readings of strangers, listeners. Not covered: finding nodes, proving who they are, how well
they work (`performance`) and whether they are too hot (`heat`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from conductor.domain.clock import Clock
from conductor.domain.device import DeviceType
from conductor.domain.errors import NotFound
from conductor.domain.node import Node, NodeId, NodeReading


class Change(StrEnum):
    """What happened to a member."""

    JOINED = "joined"
    READING = "reading"
    SILENT = "silent"
    RETURNED = "returned"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the fleet.

    Args:
        reading: the last one; None until the first arrives.
        epoch: counts how often this node has joined, from 1.
        heard_at_s: monotonic seconds of the last sign of life.
        silent: whether it has been noticed that nothing came for too long.
    """

    node: Node
    epoch: int
    heard_at_s: float
    reading: NodeReading | None = None
    silent: bool = False

    @property
    def node_id(self) -> NodeId:
        """Whose entry this is."""
        return self.node.node_id


Listener = Callable[[Change, Member], None]


class Roster:
    """The fleet as it is known here.

    Args:
        clock: its monotonic time measures silence.
        silence_s: without a reading for longer than this, a node counts as silent.
        epochs: the last epoch of each node before this process began, from `epochs` of the roster before.
    """

    def __init__(self, *, clock: Clock, silence_s: float, epochs: Mapping[NodeId, int] | None = None) -> None:
        self._clock, self._silence_s = clock, silence_s
        self._members: dict[NodeId, Member] = {}
        self._last_epochs = dict(epochs or {})
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every change, in the caller's thread; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def join(self, node: Node) -> Member:
        """Take a node in, or take it in anew with its hardware as it is now; either begins a new epoch."""
        epoch = self._last_epochs[node.node_id] = self._last_epochs.get(node.node_id, 0) + 1
        return self._enter(Change.JOINED, Member(node=node, epoch=epoch, heard_at_s=self._clock.monotonic_s()))

    def hear(self, reading: NodeReading, *, epoch: int | None = None) -> bool:
        """Take a reading that has just arrived; False when it comes from a stranger or from an earlier epoch."""
        member = self._current(reading.node_id, epoch)
        if member is None:
            return False
        returned = member.silent
        member = replace(member, reading=reading, heard_at_s=self._clock.monotonic_s(), silent=False)
        self._enter(Change.RETURNED if returned else Change.READING, member)
        return True

    def leave(self, node_id: NodeId, *, epoch: int | None = None) -> bool:
        """Let a node go; False when it is not here, or when an earlier epoch of it says farewell."""
        member = self._current(node_id, epoch)
        if member is None:
            return False
        del self._members[node_id]
        self._tell(Change.LEFT, member)
        return True

    def sweep(self) -> tuple[Member, ...]:
        """Notice who has fallen silent since the last sweep; returns them after the listeners have been told."""
        fallen = [member for member in self._members.values() if not member.silent and self._is_silent(member)]
        return tuple(self._enter(Change.SILENT, replace(member, silent=True)) for member in fallen)

    def members(self) -> tuple[Member, ...]:
        """Everyone, silent ones too, in the order they first joined."""
        return tuple(self._members.values())

    def present(self) -> tuple[Member, ...]:
        """Those heard of recently enough to be given work."""
        return tuple(member for member in self._members.values() if not self._is_silent(member))

    def member(self, node_id: NodeId) -> Member:
        """One member.

        Raises:
            NotFound: no such node has joined, or it has left.
        """
        try:
            return self._members[node_id]
        except KeyError:
            raise NotFound(
                f"there is no node {node_id!r}; `conductor nodes list` shows the nodes there are", field="node_id"
            ) from None

    def silent_for_s(self, node_id: NodeId) -> float:
        """Seconds since the last sign of life.

        Raises:
            NotFound: as `member`.
        """
        return self._clock.monotonic_s() - self.member(node_id).heard_at_s

    def epochs(self) -> dict[NodeId, int]:
        """The last epoch of every node that ever joined, those that left included."""
        return dict(self._last_epochs)

    def offered_devices(self) -> frozenset[DeviceType]:
        """Device types that some node heard of recently has."""
        return frozenset[DeviceType]().union(*(member.node.device_types() for member in self.present()))

    def _current(self, node_id: NodeId, epoch: int | None) -> Member | None:
        member = self._members.get(node_id)
        return None if member is None or epoch not in (None, member.epoch) else member

    def _is_silent(self, member: Member) -> bool:
        return self._clock.monotonic_s() - member.heard_at_s > self._silence_s

    def _enter(self, change: Change, member: Member) -> Member:
        self._members[member.node_id] = member
        self._tell(change, member)
        return member

    def _tell(self, change: Change, member: Member) -> None:
        for listener in tuple(self._listeners):
            listener(change, member)
