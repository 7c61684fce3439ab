"""Choose category and model for a request that names neither (model `auto`), and say which and why.

The reading of the request is handed in (`CategoryReader`); here it is weighed against what is served: a category that
nobody serves cannot be chosen, one whose model is in memory is preferred where the reading leaves it open, and where
the request says too little the general engines take it.

Not covered: which of several models of one category (a category has one); the price of endpoints.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conductor.domain.errors import NotFound
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.ports import CategoryReader
from conductor.serving.registry import ModelKey, Registry

#: Who takes a request that is of no particular kind, in this order.
GENERAL: Final = (Category("general_reasoning"), Category("conversational_chat"))
#: A reading below this is no reading.
_FAINTEST: Final = 0.30
#: A category whose model is in memory may be this much less likely than the likeliest.
_CLOSE: Final = 0.75
#: States in which a model answers without being loaded first.
_READY: Final = frozenset({ModelState.LOADED})
#: Longer requests are read by their beginning and their end, where people say what they want.
_LONGEST_READ: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A category that is served."""

    category: Category
    title: str
    state: ModelState


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What `auto` came to mean.

    Args:
        why: a sentence for people.
        probability: of the category by the reading; 0 where it was not read.
    """

    category: Category
    title: str
    why: str
    probability: float


def candidates(rows: Iterable[ServedModel], registry: Registry) -> tuple[Candidate, ...]:
    """The rows of the table with what has become of their models."""
    states = {record.key: record.state for record in registry.records()}
    return tuple(
        Candidate(
            category=row.category,
            title=row.title,
            state=states.get(ModelKey(row.name, row.precision), ModelState.ABSENT),
        )
        for row in rows
    )


async def choose(text: str, served: Sequence[Candidate], reader: CategoryReader) -> Choice:
    """Read a request and choose who answers it.

    Raises:
        NotFound: nothing is served.
    """
    if len(served) < 2:
        return chosen({}, served)  # there is nothing to choose: the reading costs time
    if len(text) > _LONGEST_READ:
        text = f"{text[: _LONGEST_READ // 2]} … {text[-_LONGEST_READ // 2 :]}"
    return chosen(await reader.categories(text), served)


def chosen(probabilities: Mapping[Category, float], served: Sequence[Candidate]) -> Choice:
    """Choose by a reading.

    Args:
        probabilities: by category; those of categories that nobody serves count only for the explanation.

    Raises:
        NotFound: nothing is served.
    """
    if not served:
        raise NotFound("no model is served, so `auto` has none to choose; add one to SETTINGS.md", field="model")
    if len(served) == 1:
        return _choice(served[0], probabilities, "it is the only one that is served")
    working = [one for one in served if one.state is not ModelState.ERROR] or list(served)
    likely = sorted(working, key=lambda one: -probabilities.get(one.category, 0.0))  # ties: the table's order
    best = likely[0]
    if probabilities.get(best.category, 0.0) < _FAINTEST:
        return _fallback(probabilities, served, working)
    ready = next((one for one in likely if one.state in _READY), None)
    if ready is None or ready is best:
        return _choice(best, probabilities, f"the request reads like {_words(best.category)}")
    if probabilities.get(ready.category, 0.0) >= _CLOSE * probabilities[best.category]:
        why = f"the request may be {_words(best.category)} or {_words(ready.category)}, and this model is loaded"
        return _choice(ready, probabilities, why)
    return _choice(best, probabilities, f"the request reads like {_words(best.category)}")


def _fallback(
    probabilities: Mapping[Category, float], served: Sequence[Candidate], working: Sequence[Candidate]
) -> Choice:
    """The general engines, in their order; else what is loaded; else the table's first."""
    by_category = {one.category: one for one in working}
    general = [by_category[category] for category in GENERAL if category in by_category]
    taken = next(iter([*general, *(one for one in working if one.state in _READY), *working]))
    missed = max(probabilities, key=lambda category: probabilities[category], default=None)
    if missed is None or probabilities[missed] < _FAINTEST:
        return _choice(taken, probabilities, "the request is of no particular kind")
    is_served = any(one.category == missed for one in served)
    lacking = "whose model has failed" if is_served else "which no model serves"
    return _choice(taken, probabilities, f"the request reads like {_words(missed)}, {lacking}")


def _choice(one: Candidate, probabilities: Mapping[Category, float], because: str) -> Choice:
    return Choice(
        category=one.category,
        title=one.title,
        why=f"{one.title} for {_words(one.category)}: {because}.",
        probability=probabilities.get(one.category, 0.0),
    )


def _words(category: Category) -> str:
    return category.replace("_", " ")
