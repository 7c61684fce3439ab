"""What goes on the ledger and when: each decision, each final outcome, each model; sealed into blocks on time.

An entry is made while its transition is recorded, becomes durable in the same commit (through the outbox), and is sealed
into the ledger file afterwards. Only entries that are known to be durable are sealed, so the file never runs ahead of the
database; what a crash left unsealed is sealed at the next start.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from typing import Final

import structlog

from conductor.adapters.sql.committer import GroupCommitter
from conductor.adapters.sql.documents import encode
from conductor.adapters.sql.records import SqlOutbox
from conductor.domain.decision import Decision, Estimate
from conductor.domain.errors import LedgerError, StorageError
from conductor.domain.event import TaskEvent
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.outcome import Outcome
from conductor.domain.task import FINAL, Task, TaskState
from conductor.ledger.canonical import Prepared
from conductor.ledger.chain import Ledger
from conductor.ledger.entry import Body, Entry

_RETRY_AFTER_S: Final = 1.0
_PATIENCE_S: Final = 10.0
_CHOICES_KEPT: Final = 256
#: What an entry says of weights that nobody here can see; its subject is the model's name with the address.
_UNCHECKED: Final[Body] = {"sha256": None, "remark": "the weights are behind an endpoint and cannot be checked"}

log = structlog.get_logger(__name__)


class LedgerKeeper:
    """Listens to transitions, writes entries, seals blocks. `run` must be running as a task of the owner."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        outbox: SqlOutbox,
        committer: GroupCommitter,
        block_entries: int,
        block_interval_s: float,
    ) -> None:
        self.ledger = ledger
        self._outbox = outbox
        self._committer = committer
        self._block_entries = block_entries
        self._block_interval_s = block_interval_s
        self._pending = asyncio.Event()
        self._full = asyncio.Event()
        self._closing = False
        #: The latest choices as they go on the ledger; decisions alike share their evidence, and so their choice.
        self._choices: OrderedDict[int, tuple[Decision, Prepared]] = OrderedDict()
        self._next_block: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why entries could not be sealed when that was tried last; None if all is well."""
        return self._trouble

    async def recover(self) -> None:
        """Take up what an earlier run recorded in the database but did not seal.

        Raises:
            LedgerError: ledger file and database do not belong together.
        """
        self.ledger.restore(await self._outbox.waiting())
        recorded = await self._outbox.next_index()
        if recorded != self.ledger.next_index:
            raise LedgerError(
                f"the database knows {recorded} ledger entries, the ledger file holds {self.ledger.next_index}: they "
                "are not of the same installation or one was restored from an older backup; put both back from one backup"
            )
        if self.ledger.pending:
            await asyncio.to_thread(self.ledger.seal)
        self._outbox.sealed(self.ledger.next_index)

    def record(self, kind: str, subject: str, body: Body) -> int:
        """Write one entry; returns its index. It is durable with the next commit."""
        entry = self.ledger.entry(kind, subject, body)
        self._outbox.put(entry.index, subject, kind, entry.line)
        self._pending.set()
        if self.ledger.pending >= self._block_entries:
            self._full.set()
        return entry.index

    async def recorded(self) -> None:
        """Wait until every entry made so far is durable in the database."""
        await self._committer.wait_durable("the latest ledger entry")

    async def sealed(self, index: int) -> None:
        """Wait until an entry stands in the ledger file.

        Raises:
            StorageError: it could not be written for several seconds.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while self.ledger.size <= index:
                    self._full.set()
                    self._pending.set()
                    await asyncio.shield(self._next_block)
        except TimeoutError:
            raise StorageError(
                f"ledger entry {index} is recorded but not sealed yet; {self._trouble or 'try again in a moment'}"
            ) from None

    async def record_model(self, name: str, checksum: str) -> None:
        """Record which weights take part in decisions from now on, unless the last entry about them says the same.

        Args:
            checksum: SHA-256 in lowercase hex; empty where the weights are behind an endpoint.
        """
        if await self.recorded_checksum(name) != checksum:
            self.record("model", name, {"sha256": checksum} if checksum else _UNCHECKED)

    async def recorded_checksum(self, name: str) -> str | None:
        """The SHA-256 that the last entry about a model names, empty where it could not be had; None without an entry."""
        recorded = (await self._outbox.entries_about(name)).get("model")
        if recorded is None:
            return None
        entry = await asyncio.to_thread(self.ledger.read, recorded)
        return checksum_in(entry)

    def on_transition(self, task: Task, event: TaskEvent) -> None:
        """Listener for `Transitions`."""
        if event.state is TaskState.DECIDED:
            self.record("decision", task.task_id, self._decision_body(task))
        elif event.state in FINAL:
            self.record("outcome", task.task_id, outcome_body(task))

    def _decision_body(self, task: Task) -> Body:
        """What the ledger says about a decision: a digest of what was asked, and every figure the choice rested on."""
        decision = task.decision
        assert decision is not None, "a decided task has a decision"
        known = self._choices.get(id(decision.evidence))
        if known is None or known[0].evidence is not decision.evidence:
            known = self._choices[id(decision.evidence)] = (decision, Prepared(_choice(decision)))
            if len(self._choices) > _CHOICES_KEPT:
                self._choices.popitem(last=False)
        return {
            "submission_sha256": submission_digest(task),
            "user": task.submission.user_id,
            "choice": known[1],
        }

    async def run(self) -> None:
        """Seal a block whenever entries have waited for the interval or fill one, until `close`; then seal the rest."""
        while not (self._closing and not self.ledger.pending):
            await self._pending.wait()
            self._pending.clear()
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._block_interval_s)
            self._full.clear()
            if self.ledger.pending:
                await self._seal()

    def close(self) -> None:
        """Let `run` end once everything is sealed. Call before the committer is closed."""
        self._closing = True
        self._full.set()
        self._pending.set()

    async def _seal(self) -> None:
        size = self.ledger.next_index
        await self._committer.durable()
        try:
            await asyncio.to_thread(self.ledger.seal, size)
        except StorageError as failure:
            self._trouble = failure.message
            log.warning("ledger_not_sealed", reason=failure.message, pending=self.ledger.pending)
            if self._closing:
                raise  # the entries are in the database and are sealed at the next start
            await asyncio.sleep(_RETRY_AFTER_S)
            self._pending.set()
        else:
            self._trouble = None
            self._outbox.sealed(size)
            self._next_block.set_result(None)
            self._next_block = asyncio.get_running_loop().create_future()


def checksum_in(entry: Entry) -> str:
    """The SHA-256 that an entry about a model names; empty where it could not be had."""
    return str(entry.body.get("sha256") or "")


def outcome_body(task: Task) -> JsonObject:
    """What the ledger says about an end: the state, and what was measured."""
    body: dict[str, JsonValue] = {"state": task.state.value, "attempts": task.attempt}
    if task.outcome is not None:
        body.update(_measured(task.outcome))
    return body


def submission_digest(task: Task) -> str:
    """SHA-256 of the submission document as stored, lowercase hex: proves what was asked without telling it."""
    return hashlib.sha256(encode(task.submission).encode()).hexdigest()


def _choice(decision: Decision) -> dict[str, JsonValue]:
    parts = decision.parts
    return {
        "device": decision.device.value,
        "runner_up": decision.runner_up.value,
        "available_device": decision.available_device.value,
        "task_kind": decision.task_kind.value,
        "priority": decision.priority,
        "compute_units": _interval(decision.compute_units),
        "duration_s": _interval(decision.duration_s),
        "confidence": _figure(decision.confidence),
        "parts": {
            "similarity": _figure(parts.similarity),
            "device_success": _figure(parts.device_success),
            "node_availability": _figure(parts.node_availability),
            "resource_availability": _figure(parts.resource_availability),
        },
        "nodes": [
            {
                "node": node.node_id,
                "score": _figure(node.score),
                "thermal": _figure(node.thermal),
                "queue": _figure(node.queue),
                "capability": _figure(node.capability),
                "history": _figure(node.history),
            }
            for node in decision.nodes
        ],
        "reasoning_sha256": hashlib.sha256(decision.reasoning.encode()).hexdigest(),
        "models": {name: checksum or None for name, checksum in decision.models},
    }


def _measured(outcome: Outcome) -> dict[str, JsonValue]:
    return {
        "ending": outcome.ending.value,
        "node": outcome.node_id,
        "duration_s": _figure(outcome.duration_s),
        "cpu_time_s": _figure(outcome.cpu_time_s),
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "output_bytes": outcome.output_bytes,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "result_sha256": hashlib.sha256(encode(outcome.result).encode()).hexdigest(),
    }


def _interval(estimate: Estimate) -> list[JsonValue]:
    return [_figure(estimate.value), _figure(estimate.low), _figure(estimate.high), estimate.source]


def _figure(value: float) -> JsonValue:
    """Four decimals, and whole numbers as integers: the same digits in every language's JSON."""
    rounded = round(value, 4)
    return int(rounded) if rounded == int(rounded) else rounded
