"""Decide who answers a call: the row that was named, the one that suits a request best, or a general one in its place.

The reading of requests and the order of candidates are `serving.choosing`'s; here its choice becomes a `CallDecision`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from conductor.app.serving.calls import CallDecision
from conductor.app.serving.models import ServedModels
from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.model import Category, ServedModel
from conductor.serving.choosing import GENERAL, candidates, choose
from conductor.serving.ports import CategoryReader
from conductor.serving.registry import Registry

#: Names under which Conductor itself chooses.
AUTO: Final = frozenset({"auto", "conductor"})


class Deciding:
    """Decides, call by call.

    Args:
        served: what there is to choose from.
        registry: what has become of each model; those that fail come last.
        reader: reads categories from requests; None chooses the general engines for every `auto`.
        new_id: gives an identifier that was never given before.
    """

    def __init__(
        self,
        served: ServedModels,
        *,
        registry: Registry,
        reader: CategoryReader | None,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._served = served
        self._registry = registry
        self._reader = reader or _NoReader()
        self._clock = clock
        self._new_id = new_id

    async def decide(
        self,
        wanted: str,
        text: str,
        among: Mapping[Category, object] | None = None,
        *,
        with_pictures: bool = False,
    ) -> CallDecision:
        """Who answers; `among` holds the categories that can, None all of the table.

        Raises:
            NotFound: nobody does.
            InvalidInput: nobody does who sees pictures.
        """
        # Of these rows: reading the request takes a while, in which others may come into force.
        digest = self._served.digest
        if wanted not in AUTO:
            row = self._row_among(wanted, among)
            why = f"{row.title} for {in_words(row.category)}: it was asked for."
            return self._decision(wanted, row, why, None, digest)
        rows = [row for row in self._served.rows if among is None or row.category in among]
        served = candidates(rows, self._registry)
        choice = await choose(text, served, self._reader, with_pictures=with_pictures)
        row = next(row for row in rows if row.category == choice.category)
        return self._decision(wanted, row, choice.why, choice.probability, digest)

    def instead(
        self, decision: CallDecision, refusal: InvalidInput, among: Mapping[Category, object]
    ) -> CallDecision | None:
        """A general engine in place of one that was chosen and turned out to need more; None where there is none."""
        by_category = {row.category: row for row in self._served.rows}
        places = (by_category.get(category) for category in GENERAL if category in among)
        general = next((row for row in places if row is not None and row.category != decision.category), None)
        if general is None:
            return None
        missed = in_words(decision.category)
        why = f"{general.title} for {in_words(general.category)}: {missed} would need more ({refusal.message})."
        return self._decision(decision.asked_for, general, why, decision.probability, self._served.digest)

    def _row_among(self, wanted: str, among: Mapping[Category, object] | None) -> ServedModel:
        row = self._served.row(wanted)
        if among is not None and row.category not in among:
            raise NotFound(
                f"no engine is for {row.category!r}; there are {', '.join(sorted(among)) or 'none'}", field="category"
            )
        return row

    def _decision(
        self, wanted: str, row: ServedModel, why: str, probability: float | None, table_digest: str
    ) -> CallDecision:
        return CallDecision(
            call_id=self._new_id(),
            asked_for=wanted,
            category=row.category,
            model=row.name,
            title=row.title,
            why=why,
            probability=probability,
            table_digest=table_digest,
            decided_at_unix_s=self._clock.now_unix_s(),
        )


def in_words(category: Category) -> str:
    """`general_reasoning` as people write it."""
    return category.replace("_", " ")


class _NoReader:
    """Reads nothing out of requests."""

    async def categories(self, text: str) -> Mapping[Category, float]:
        """None."""
        return {}
