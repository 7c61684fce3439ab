"""The rows of the model table with what has become of each: whom a name means, and what is known of its model.

Not covered: changing anything; loading is `serving.lifetimes`' and the table is `app.serving.model_table`'s.
"""

from collections.abc import Sequence
from typing import Protocol

from conductor.domain.errors import NotFound
from conductor.domain.json import JsonObject
from conductor.domain.model import ModelState, ServedModel
from conductor.serving.registry import ModelKey, ModelRecord, Registry
from conductor.serving.settings_md.table import ModelTable


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
        served = ", ".join(["auto", *(row.category for row in rows)]) if rows else "nothing"
        raise NotFound(
            f"the model {wanted[:200]!r} does not exist: it is neither a category nor a model of SETTINGS.md "
            f"(served now: {served})",
            field="model",
        )

    def memory(self) -> Sequence[JsonObject]:
        """Every model that has books, as plain data: state, memory, use and failures."""
        return [_memory_view(record) for record in self._registry.records()]

    def _records(self) -> dict[ModelKey, ModelRecord]:
        return {record.key: record for record in self._registry.records()}


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
