"""Choose category and model for a request that names neither (model `auto`), and say which and why.

The reading of the request is handed in (`CategoryReader`); here it is weighed against what is served: a category that
nobody serves cannot be chosen, one whose model is in memory is preferred where the reading leaves it open, and where
the request says too little the general engines take it. Pictures are for models that see, whatever the request reads like.

Not covered: which of several models of one category (a category has one); the price of endpoints.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.ports import CategoryReader
from conductor.serving.registry import ModelKey, ModelRecord, Registry
from conductor.serving.requirements import Place, place_of

#: Who takes a request that is of no particular kind, in this order.
GENERAL: Final = (Category("general_reasoning"), Category("conversational_chat"))
#: Who could be given a model that sees, in this order.
_MAY_SEE: Final = (*GENERAL, Category("question_answering"), Category("creative_writing"))
_EMBEDDINGS: Final = Category("embeddings")
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
    """A category that is served.

    Args:
        sees: whether its model takes pictures; None where that is known only when it is loaded.
    """

    category: Category
    title: str
    state: ModelState
    sees: bool | None = None


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
    records = {record.key: record for record in registry.records()}
    return tuple(_candidate(row, records.get(ModelKey(row.name, row.precision))) for row in rows)


def _candidate(row: ServedModel, record: ModelRecord | None) -> Candidate:
    facts = None if record is None else record.facts
    unasked = None if place_of(row.name) is Place.ENDPOINT else False  # no model that runs here sees
    return Candidate(
        category=row.category,
        title=row.title,
        state=ModelState.ABSENT if record is None else record.state,
        sees=unasked if facts is None else facts.sees,
    )


async def choose(
    text: str, served: Sequence[Candidate], reader: CategoryReader, *, with_pictures: bool = False
) -> Choice:
    """Read a request and choose who answers it.

    Raises:
        NotFound: nothing is served.
        InvalidInput: it holds pictures, and no model sees; says which row would help.
    """
    blind: Sequence[Candidate] = ()
    if with_pictures:
        seeing = _seeing(served)
        served, blind = seeing, [one for one in served if one not in seeing]
    if len(served) < 2:
        return chosen({}, served, blind=blind)  # there is nothing to choose: the reading costs time
    if len(text) > _LONGEST_READ:
        text = f"{text[: _LONGEST_READ // 2]} … {text[-_LONGEST_READ // 2 :]}"
    return chosen(await reader.categories(text), served, blind=blind)


def _seeing(served: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those whose models see pictures; where none is known to, those that may."""
    able = [one for one in served if one.category != _EMBEDDINGS]
    found = [one for one in able if one.sees] or [one for one in able if one.sees is None]
    if served and not found:
        raise InvalidInput(
            f"the request holds a picture, and no model that is served sees; {_remedy(served)}", field="messages"
        )
    return found


def _remedy(served: Sequence[Candidate]) -> str:
    taken = {one.category: one.title for one in served}
    free = next((category for category in _MAY_SEE if category not in taken), None)
    if free is None:
        return (
            f"put one behind an endpoint (`http://HOST:PORT/v1#MODEL`) in place of {taken[GENERAL[0]]} into the row "
            f"{_words(GENERAL[0]).title()} of SETTINGS.md"
        )
    row = f"| {_words(free).title()} | NAME | – | `http://HOST:PORT/v1#MODEL` | false | – |"
    return f"add a row of one behind an endpoint to SETTINGS.md, such as {row}"


def chosen(
    probabilities: Mapping[Category, float], served: Sequence[Candidate], *, blind: Sequence[Candidate] = ()
) -> Choice:
    """Choose by a reading.

    Args:
        probabilities: by category; those of categories that nobody serves count only for the explanation.
        blind: who is served and cannot be chosen, because the request holds a picture.

    Raises:
        NotFound: nothing is served.
    """
    if not served:
        raise NotFound("no model is served, so `auto` has none to choose; add one to SETTINGS.md", field="model")
    if len(served) == 1:
        return _choice(served[0], probabilities, f"it is the only one that {'sees pictures' if blind else 'is served'}")
    working = [one for one in served if one.state is not ModelState.ERROR] or list(served)
    likely = sorted(working, key=lambda one: -probabilities.get(one.category, 0.0))  # ties: the table's order
    best = likely[0]
    if probabilities.get(best.category, 0.0) < _FAINTEST:
        return _fallback(probabilities, served, working, blind)
    ready = next((one for one in likely if one.state in _READY), None)
    if ready is None or ready is best:
        return _choice(best, probabilities, f"the request reads like {_words(best.category)}")
    if probabilities.get(ready.category, 0.0) >= _CLOSE * probabilities[best.category]:
        why = f"the request may be {_words(best.category)} or {_words(ready.category)}, and this model is loaded"
        return _choice(ready, probabilities, why)
    return _choice(best, probabilities, f"the request reads like {_words(best.category)}")


def _fallback(
    probabilities: Mapping[Category, float],
    served: Sequence[Candidate],
    working: Sequence[Candidate],
    blind: Sequence[Candidate],
) -> Choice:
    """The general engines, in their order; else what is loaded; else the table's first."""
    by_category = {one.category: one for one in working}
    general = [by_category[category] for category in GENERAL if category in by_category]
    taken = next(iter([*general, *(one for one in working if one.state in _READY), *working]))
    missed = max(probabilities, key=lambda category: probabilities[category], default=None)
    if missed is None or probabilities[missed] < _FAINTEST:
        return _choice(taken, probabilities, "the request is of no particular kind")
    lacking = "whose model has failed" if any(one.category == missed for one in served) else "which no model serves"
    if any(one.category == missed for one in blind):
        lacking = "whose model sees no pictures"
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
