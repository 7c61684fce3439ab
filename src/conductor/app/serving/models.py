"""The rows of the model table with what has become of each: whom a name means, and what is known of its model.

Not covered: changing anything; loading is `serving.lifetimes.keep`'s, and the table is `app.serving.model_table`'s.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelName, ModelState, ServedModel
from conductor.serving.registry import ModelKey, ModelRecord, Registry, StateChange
from conductor.serving.settings_md.table import ModelTable, slug

log = structlog.get_logger(__name__)


class TableInForce(Protocol):
    """The model table as it is now."""

    @property
    def table(self) -> ModelTable:
        """What is served."""
        ...

    @property
    def digest(self) -> str:
        """Its digest, which decisions name."""
        ...


class ServedModels:
    """What is served now.

    Args:
        table: which model serves which category.
        registry: what has become of each model.
    """

    def __init__(self, table: TableInForce, registry: Registry) -> None:
        self._table = table
        self._registry = registry

    @property
    def rows(self) -> Sequence[ServedModel]:
        """The rows of the table in force."""
        return self._table.table.rows

    @property
    def persona(self) -> str:
        """Of the table in force; empty where there is none."""
        return self._table.table.persona.strip()

    @property
    def digest(self) -> str:
        """Of the table in force."""
        return self._table.digest

    def states(self) -> Sequence[tuple[ServedModel, ModelState]]:
        """The rows, and what has become of each."""
        records = self._records()
        return [
            (row, found.state if (found := records.get(ModelKey(row.name, row.precision))) else ModelState.ABSENT)
            for row in self.rows
        ]

    def record_of(self, row: ServedModel) -> ModelRecord | None:
        """What is known of a row's model; None before it was entered."""
        return self._records().get(ModelKey(row.name, row.precision))

    def row(self, wanted: str) -> ServedModel:
        """The row that a category, a title or a technical name means; the first of several.

        A category may also be written as in the table, `General Reasoning`.

        Raises:
            NotFound: none does; names what is served.
        """
        rows = self.rows
        for names in (
            [str(row.category) for row in rows],
            [str(row.name) for row in rows],
            [row.title for row in rows],
        ):
            if wanted in names:
                return rows[names.index(wanted)]
        written = slug(wanted)
        for row in rows:
            if row.category == written:
                return row
        served = ", ".join(["auto", *(row.category for row in rows)]) if rows else "nothing"
        raise NotFound(
            f"the model {wanted[:200]!r} does not exist: it is neither a category nor a model of SETTINGS.md "
            f"(served now: {served})",
            field="model",
        )

    def row_of(self, category: Category, model: ModelName) -> ServedModel | None:
        """The row by which a call was decided; None where the table has another by now."""
        return next((row for row in self.rows if (row.category, row.name) == (category, model)), None)

    def memory(self) -> Sequence[JsonObject]:
        """Every model that has books, as plain data: state, memory, use and failures."""
        return [_memory_view(record) for record in self._registry.records()]

    def _records(self) -> dict[ModelKey, ModelRecord]:
        return {record.key: record for record in self._registry.records()}


def log_change(change: StateChange) -> None:
    """Listener for `Registry`: what becomes of models is in the log."""
    record = change.record
    tell = log.warning if record.state is ModelState.ERROR else log.info
    tell(
        "model_state",
        model=record.key.name,
        precision=record.key.precision.value,
        was=change.before.value,
        state=record.state.value,
        reason=record.reason,
        backend=record.backend,
        memory_bytes=record.measured_bytes if record.state is ModelState.LOADED else record.estimated_bytes,
        load_s=None if record.load_s is None else round(record.load_s, 3),
    )


def _memory_view(record: ModelRecord) -> JsonObject:
    facts = record.facts
    return {
        "model": record.key.name,
        "precision": record.key.precision.value,
        "categories": list(record.categories),
        "state": record.state.value,
        "since_unix_s": record.since_unix_s,
        "reason": record.reason,
        "backend": record.backend,
        "device": "" if facts is None else facts.device,
        "context_tokens": None if facts is None else facts.context_tokens,
        "estimated_bytes": record.estimated_bytes,
        "measured_bytes": record.measured_bytes,
        "load_s": record.load_s,
        "loads": record.loads,
        "generations": record.generations,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "errors": record.errors,
        "last_error": record.last_error,
        "healthy": record.healthy,
    }
