"""Keep what has become of each model: its state and since when, its memory, how much it was used, how it fares.

Which state may follow which is a table; whatever else is asked for raises. Who loads and unloads is
`serving.lifetimes.keep`; the registry only keeps the books and tells its listeners.

Not covered: statistics over time, which the listeners' metrics keep.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidTransition, NotFound
from conductor.domain.generation import Usage
from conductor.domain.model import Category, ModelName, ModelState, Precision
from conductor.serving.ports import RunnerFacts

#: What may follow each state.
FOLLOWING: Final[Mapping[ModelState, frozenset[ModelState]]] = {
    ModelState.ABSENT: frozenset({ModelState.WAITING}),
    # It loads, the wait is given up, or its files turn out to be unusable.
    ModelState.WAITING: frozenset({ModelState.LOADING, ModelState.ABSENT, ModelState.ERROR}),
    ModelState.LOADING: frozenset({ModelState.LOADED, ModelState.ABSENT, ModelState.ERROR}),
    # It is unloaded, or it died.
    ModelState.LOADED: frozenset({ModelState.UNLOADING, ModelState.ERROR}),
    ModelState.UNLOADING: frozenset({ModelState.ABSENT, ModelState.ERROR}),
    # The next attempt, or it is taken out of the table.
    ModelState.ERROR: frozenset({ModelState.WAITING, ModelState.ABSENT}),
}


class ImpossibleState(InvalidTransition):
    """A model was asked to go from a state to one that cannot follow it."""

    code = "model.transition"


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What is loaded once: categories with the same model in the same precision share it."""

    name: ModelName
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """What is known of one model.

    Args:
        since_unix_s: when it came into its state.
        reason: why it is in it; for `ERROR`, what went wrong.
        backend, facts: empty and None until it is loaded for the first time; the last ones afterwards.
        estimated_bytes: what loading is expected to take, corrected by experience; None before the first attempt.
        measured_bytes: what it took when it was last loaded; None before.
        load_s: how long the last load took.
        errors: generations and loads that failed.
        healthy: whether it answered when it was last asked; None while it is not loaded.
    """

    key: ModelKey
    categories: tuple[Category, ...]
    since_unix_s: float
    state: ModelState = ModelState.ABSENT
    reason: str = ""
    backend: str = ""
    facts: RunnerFacts | None = None
    estimated_bytes: int | None = None
    measured_bytes: int | None = None
    load_s: float | None = None
    loads: int = 0
    generations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: int = 0
    last_error: str = ""
    last_used_unix_s: float | None = None
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class StateChange:
    """A model came from one state into another; `record` is what is known of it now."""

    before: ModelState
    record: ModelRecord


Listener = Callable[[StateChange], None]


class Registry:
    """The books. Listeners are called at once, in the order in which they came; they must not fail or wait."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[ModelKey, ModelRecord] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have every change of state told."""
        self._listeners.append(listener)

    def records(self) -> tuple[ModelRecord, ...]:
        """All models, in the order in which they were entered."""
        return tuple(self._records.values())

    def record(self, key: ModelKey) -> ModelRecord:
        """One model.

        Raises:
            NotFound: it was never entered.
        """
        try:
            return self._records[key]
        except KeyError:
            raise NotFound(f"there is no model {key.name} in {key.precision}", field="model") from None

    def enter(self, key: ModelKey, categories: Iterable[Category]) -> None:
        """Keep a model's books from now on, or change whom it serves."""
        known = self._records.get(key)
        if known is None:
            known = ModelRecord(key=key, categories=(), since_unix_s=self._clock.now_unix_s())
        self._records[key] = replace(known, categories=tuple(categories))

    def forget(self, key: ModelKey) -> None:
        """Close a model's books; it must not be in memory."""
        record = self.record(key)
        if record.state not in (ModelState.ABSENT, ModelState.ERROR):
            raise ImpossibleState(f"{key.name} is {record.state}; it must be unloaded before it is forgotten")
        del self._records[key]

    def move(self, key: ModelKey, state: ModelState, reason: str = "") -> None:
        """Bring a model into another state.

        Raises:
            ImpossibleState: it cannot follow the present one.
        """
        before = self.record(key)
        if state not in FOLLOWING[before.state]:
            raise ImpossibleState(
                f"{key.name} is {before.state} and cannot become {state}",
                field="state",
                details={"from": before.state.value, "to": state.value},
            )
        failed = state is ModelState.ERROR
        self._records[key] = replace(
            before,
            state=state,
            since_unix_s=self._clock.now_unix_s(),
            reason=reason,
            errors=before.errors + failed,
            last_error=reason if failed else before.last_error,
            healthy=True if state is ModelState.LOADED else None,
        )
        for listener in self._listeners:
            listener(StateChange(before.state, self._records[key]))

    def expect(self, key: ModelKey, *, backend: str, estimated_bytes: int) -> None:
        """Note what loading is expected to take."""
        self._change(key, backend=backend, estimated_bytes=estimated_bytes)

    def measure(self, key: ModelKey, facts: RunnerFacts, *, load_s: float) -> None:
        """Note what loading gave and took."""
        self._change(
            key, facts=facts, measured_bytes=facts.memory_bytes, load_s=load_s, loads=self.record(key).loads + 1
        )

    def use(self, key: ModelKey) -> None:
        """Note that somebody uses it."""
        self._change(key, last_used_unix_s=self._clock.now_unix_s())

    def generated(self, key: ModelKey, usage: Usage | None) -> None:
        """Count a generation that ended well; it is healthy then."""
        record = self.record(key)
        prompt_tokens, completion_tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        self._change(
            key,
            generations=record.generations + 1,
            prompt_tokens=record.prompt_tokens + prompt_tokens,
            completion_tokens=record.completion_tokens + completion_tokens,
            healthy=True if record.state is ModelState.LOADED else None,
        )

    def failed(self, key: ModelKey, why: str) -> None:
        """Count a generation that failed; whether the model lives is told by `answers`."""
        self._change(key, errors=self.record(key).errors + 1, last_error=why)

    def answers(self, key: ModelKey, healthy: bool) -> None:
        """Note whether a loaded model answered when it was asked how it is."""
        self._change(key, healthy=healthy)

    def _change(self, key: ModelKey, **changes: object) -> None:
        self._records[key] = replace(self.record(key), **changes)  # type: ignore[arg-type]  # names of fields, above
