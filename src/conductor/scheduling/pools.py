"""Share out what one node has: processor cores, memory, storage and network slots, never more than there is.

A reservation takes from all four pools or from none. What does not fit now is a `Shortage` (try again when something is
released); what would not fit into the empty node is an error. One task at a time can be promised what becomes free:
others then get only what it does not need, so a large task waits at most until those running now have ended. Who
makes a promise withdraws it when that task leaves the queue otherwise.

All amounts are integers, so what is released equals what was taken. Enforcing the slice is `fleet.confinement`'s and
the executor's; choosing the node is `place`'s. Not covered: memory that strangers use (hand in a smaller capacity).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conductor.domain.errors import Conflict, Exhausted, InvalidInput
from conductor.domain.node import NodeId
from conductor.domain.task import TaskId
from conductor.domain.units import format_bytes


class Pool(StrEnum):
    """What a node shares out."""

    CPU = "cpu"
    MEMORY = "memory"
    STORAGE = "storage"
    NETWORK = "network"


_POOLS: Final = tuple(Pool)
_REMEDIES: Final = {
    Pool.CPU: "ask for fewer cores or add a node with more",
    Pool.MEMORY: "lower limits.memory_bytes or add a node with more memory",
    Pool.STORAGE: "ask for less storage, free some on the node, or add a node with more",
    Pool.NETWORK: "close limits.network if the task does not need it, or raise the node's network slots",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNeed:
    """Amounts of each pool: what a task needs, or what a node has. A network slot lets one task open the network."""

    millicores: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0
    network_slots: int = 0

    def __post_init__(self) -> None:
        if min(self.amounts()) < 0:
            raise InvalidInput(f"an amount is negative: {self}; ask for 0 or more of each pool", field="resources")

    def amounts(self) -> tuple[int, int, int, int]:
        """The four amounts in the order of `Pool`."""
        return (self.millicores, self.memory_bytes, self.storage_bytes, self.network_slots)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reservation:
    """What one task holds of one node, until it is released. Equal only to itself."""

    node_id: NodeId
    task_id: TaskId
    need: PoolNeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why a need does not fit now: the first pool that lacks. `promised_to`: only this promise is in the way."""

    node_id: NodeId
    pool: Pool
    needed: int
    free: int
    total: int
    promised_to: TaskId | None = None

    def __str__(self) -> str:
        sentence = (
            f"needs {format_amount(self.pool, self.needed)}; {self.node_id} has "
            f"{_number(self.pool, self.free)} of {_number(self.pool, self.total)} free"
        )
        return sentence if self.promised_to is None else f"{sentence}, the rest is kept for task {self.promised_to}"


class Pools:
    """The four pools of one node. Reserve and release cost a few microseconds."""

    def __init__(self, node_id: NodeId, capacity: PoolNeed) -> None:
        self.node_id = node_id
        self._total = capacity.amounts()
        self._used = [0, 0, 0, 0]
        self._held: dict[TaskId, Reservation] = {}
        self._promise: tuple[TaskId, tuple[int, int, int, int]] | None = None

    def check(self, need: PoolNeed) -> None:
        """See that a need could be met if nothing else ran.

        Raises:
            Exhausted: it could not; names the pool, the numbers and the remedy.
        """
        for pool, needed, total in zip(_POOLS, need.amounts(), self._total, strict=True):
            if needed > total:
                raise Exhausted(
                    f"the task needs {format_amount(pool, needed)} and {self.node_id} has "
                    f"{format_amount(pool, total)} in all; {_REMEDIES[pool]}",
                    details={"pool": pool, "needed": needed, "total": total, "node": self.node_id},
                )

    def could_hold(self, need: PoolNeed) -> bool:
        """Whether the need fits into the empty node."""
        return all(needed <= total for needed, total in zip(need.amounts(), self._total, strict=True))

    def reserve(self, task_id: TaskId, need: PoolNeed) -> Reservation | Shortage:
        """Take what a task needs, from all pools or none. A promise to this task ends when it is kept.

        Raises:
            Exhausted: the need is larger than the node.
            Conflict: the task holds a reservation here already.
        """
        self.check(need)
        if task_id in self._held:
            raise Conflict(f"task {task_id} already holds a part of {self.node_id}; release that first")
        shortage = self.shortage(task_id, need)
        if shortage is not None:
            return shortage
        for index, amount in enumerate(need.amounts()):
            self._used[index] += amount
        if self._promise is not None and self._promise[0] == task_id:
            self._promise = None
        reservation = self._held[task_id] = Reservation(node_id=self.node_id, task_id=task_id, need=need)
        return reservation

    def release(self, reservation: Reservation) -> bool:
        """Give back a reservation; False, and nothing happens, when it was given back before."""
        if self._held.get(reservation.task_id) is not reservation:
            return False
        del self._held[reservation.task_id]
        for index, amount in enumerate(reservation.need.amounts()):
            self._used[index] -= amount
        return True

    def promise(self, task_id: TaskId, need: PoolNeed) -> bool:
        """Keep what becomes free for one task until it has reserved; False when another has the promise.

        Raises:
            Exhausted: the need is larger than the node.
        """
        self.check(need)
        if self._promise is not None and self._promise[0] != task_id:
            return False
        self._promise = (task_id, need.amounts())
        return True

    def withdraw(self, task_id: TaskId) -> None:
        """End the promise to a task that no longer waits for it; nothing happens if it has none."""
        if self._promise is not None and self._promise[0] == task_id:
            self._promise = None

    def resize(self, capacity: PoolNeed) -> None:
        """Change what there is. What is held stays held; while that is more, nothing is free."""
        self._total = capacity.amounts()

    def free(self) -> PoolNeed:
        """What nobody holds, promised or not."""
        return PoolNeed(**dict(zip(_FIELDS, map(self._free, range(len(_POOLS))), strict=True)))

    def utilisation(self) -> dict[Pool, float]:
        """The share of each pool that is held, in 0–1 (above 1 only after shrinking); 0 for a pool of size 0."""
        return {
            pool: used / total if total else 0.0
            for pool, used, total in zip(_POOLS, self._used, self._total, strict=True)
        }

    def _free(self, index: int) -> int:
        return max(0, self._total[index] - self._used[index])

    def shortage(self, task_id: TaskId, need: PoolNeed) -> Shortage | None:
        """What stands in the way of a reservation now; None when nothing does."""
        for index, needed in enumerate(need.amounts()):
            free, promised_to = self._free(index), None
            if self._promise is not None and self._promise[0] != task_id and needed <= free:
                free -= min(free, self._promise[1][index])
                promised_to = self._promise[0]
            if needed > free:
                return Shortage(
                    node_id=self.node_id,
                    pool=_POOLS[index],
                    needed=needed,
                    free=free,
                    total=self._total[index],
                    promised_to=promised_to,
                )
        return None


_FIELDS: Final = ("millicores", "memory_bytes", "storage_bytes", "network_slots")


def format_amount(pool: Pool, amount: int) -> str:
    """An amount as people write it: `1.5 cores`, `2.0 GiB of memory`, `1 network slot`."""
    if pool is Pool.CPU:
        return f"{_number(pool, amount)} core{'' if amount == 1000 else 's'}"
    if pool is Pool.NETWORK:
        return f"{_number(pool, amount)} network slot{'' if amount == 1 else 's'}"
    return f"{_number(pool, amount)} of {pool}"


def _number(pool: Pool, amount: int) -> str:
    if pool is Pool.CPU:
        return f"{amount / 1000:g}"
    return str(amount) if pool is Pool.NETWORK else format_bytes(amount)
