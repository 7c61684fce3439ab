"""Make ledger entries and log lines of calls that ended: one each; one for all of a model's calls that were told in groups.

Groups of the gateway (`app.serving.relayed`) are summed up by model and minute, with a digest of the calls' identifiers in
the order in which they ended: whoever kept those (clients have them from the header `traceparent`) can show that none is
missing.

Not covered: what was summed and not yet written when the process was killed, at most a minute.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from conductor.app.serving.call_groups import CallGroup
from conductor.app.serving.calls import CallRecord, Ending
from conductor.domain.json import JsonObject

_MINUTE_S: Final = 60.0
_MOST_SUMS: Final = 1_000

log = structlog.get_logger(__name__)

#: Writes an entry: kind, subject, body.
Write = Callable[[str, str, JsonObject], object]


class CallEntries:
    """Listens to journal and gateway. `run` must be running as a task of the owner, who calls `flush` at the end.

    Args:
        write: makes an entry of the ledger.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._begun = asyncio.Event()

    async def on_calls(self, records: Sequence[CallRecord]) -> None:
        """Listener for `CallJournal`."""
        for record in records:
            body, call_id = record.as_json(), record.decision.call_id
            self._write("generation", call_id, body)
            if record.decision.is_relayed:  # others were logged where they ended
                trace_id, _, span_id = call_id.partition("-")
                log.info("relayed", **body, trace_id=trace_id, span_id=span_id)

    def on_group(self, group: CallGroup) -> None:
        """Listener for `RelayedCalls`."""
        key = (str(group.category), str(group.model))
        if key not in self._sums and len(self._sums) >= _MOST_SUMS:
            self.flush()
        self._sums.setdefault(key, _Sum(group)).add(group)
        self._begun.set()

    async def run(self) -> None:
        """Write what was summed, a minute after its first call, until cancelled."""
        while True:
            await self._begun.wait()
            await asyncio.sleep(_MINUTE_S)
            self.flush()

    def flush(self) -> None:
        """Write what was summed so far."""
        self._begun.clear()
        sums, self._sums = self._sums, {}
        for one in sums.values():
            body = one.as_json()
            self._write("generations", one.model, body)
            log.info("relayed_many", **body)


class _Sum:
    """Calls of one model in one minute."""

    def __init__(self, first: CallGroup) -> None:
        self.model = first.model
        self._category, self._since_unix_s = first.category, first.told_at_unix_s
        self._until_unix_s, self._table_digest = first.told_at_unix_s, first.table_digest
        self._endings: Counter[Ending] = Counter()
        self._prompt_tokens = self._completion_tokens = self._estimated_tokens = 0
        self._total_s = 0.0
        self._ids = hashlib.sha256()

    def add(self, group: CallGroup) -> None:
        self._until_unix_s, self._table_digest = group.told_at_unix_s, group.table_digest
        self._endings.update(group.endings)
        self._prompt_tokens += group.prompt_tokens
        self._completion_tokens += group.completion_tokens
        self._estimated_tokens += group.estimated_tokens
        self._total_s += group.total_s
        self._ids.update(group.call_ids)

    def as_json(self) -> JsonObject:
        calls = self._endings.total()
        return {
            "category": self._category,
            "model": self.model,
            "calls": calls,
            "call_ids_sha256": self._ids.hexdigest(),
            **{ending.value: self._endings[ending] for ending in Ending},
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "estimated_tokens": self._estimated_tokens,
            "mean_ms": round(self._total_s / calls * 1000),
            "since_unix_s": round(self._since_unix_s),
            "until_unix_s": round(self._until_unix_s),
            "table_digest": self._table_digest,
        }
