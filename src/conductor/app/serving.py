"""Have a language model answer: choose who does, follow the answer as it is written, and account for it afterwards.

There are two ways to ask. `work` gives a request to an engine, which does more than a prompt; `converse` gives a
conversation or a text to a category's model as it is, which is what clients of the OpenAI API mean. Both decide first
(category, model, why, digest of the table) and tell decision and outcome to the `CallJournal` when the call has ended.

Closing a call's parts ends its generation within one token, whoever does it and whenever.

Not covered: who may call, and how much (the gate); models that are asked through the gateway without being parsed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from conductor.app.serving_calls import CallDecision, CallJournal, CallOutcome, CallRecord, Ending
from conductor.app.serving_options import completed, engine_options, option_names
from conductor.app.serving_stats import ServingStatistics
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, InvalidInput, ModelError, NotFound
from conductor.domain.generation import Generation, Message, Piece, Role, Sampling, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.choosing import GENERAL, candidates, choose
from conductor.serving.engine import Answer, Engine, EngineOptions, ModelDesk
from conductor.serving.ports import CategoryReader, Runner, RunnerFacts
from conductor.serving.registry import ModelKey, ModelRecord, Registry
from conductor.serving.settings_md.table import ModelTable

#: Names under which Conductor itself chooses.
AUTO: Final = frozenset({"auto", "conductor"})
CHAT: Final = Category("conversational_chat")
MOST_ANSWERS: Final = 16
_USUAL: Final = Sampling(temperature=1.0)
_BUFFERED_PIECES: Final = 4

PartT = TypeVar("PartT")
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


class ContextExceeded(InvalidInput):
    """Prompt, or prompt and answer together, are longer than the model's context."""

    code = "input.context"


@dataclass(slots=True)
class Call(Generic[PartT]):
    """A call under way. Iterate `parts` and close them, always; nothing happens before the first is asked for.

    `decision` stands from the first part on: where an engine that was chosen by `auto` turns out to need more than it was
    given, a general one takes its place.
    """

    decision: CallDecision
    parts: AsyncGenerator[PartT, None]


class Serving:
    """The use case.

    Args:
        desk: gives models.
        engines: by category.
        table: which model serves which category.
        registry: what has become of each model.
        reader: reads categories from requests; None chooses the general engines for every `auto`.
        new_id: gives an identifier that was never given before.
        journal: told of every call.
        loads_models: False refuses every call that needs a model (`--skip-model-loading`).
    """

    def __init__(
        self,
        *,
        desk: ModelDesk,
        engines: Mapping[Category, Engine[Any]],
        table: TableInForce,
        registry: Registry,
        reader: CategoryReader | None,
        clock: Clock,
        new_id: Callable[[], str],
        journal: CallJournal | None = None,
        loads_models: bool = True,
    ) -> None:
        self._desk = desk
        self._engines = engines
        self._table = table
        self._registry = registry
        self._reader = reader or _NoReader()
        self._clock = clock
        self._new_id = new_id
        self._journal = journal or CallJournal()
        self._loads_models = loads_models
        self._statistics = ServingStatistics()
        #: When this began; the protocol wants to know when a model was made, and nobody can tell that.
        self.since_unix_s = clock.now_unix_s()

    # What there is.

    def categories(self) -> Mapping[str, str]:
        """Every category that has an engine, with its purpose in a sentence."""
        return {str(category): engine.purpose for category, engine in self._engines.items()}

    def options_of(self, category: Category) -> tuple[str, ...]:
        """Further options that the category's engine takes."""
        engine = self._engines.get(category)
        return () if engine is None else option_names(engine.options_type)

    def models(self) -> Sequence[tuple[ServedModel, ModelState]]:
        """The rows of the model table, and what has become of each."""
        records = self._records()
        return [
            (row, found.state if (found := records.get(ModelKey(row.name, row.precision))) else ModelState.ABSENT)
            for row in self._table.table.rows
        ]

    def record_of(self, row: ServedModel) -> ModelRecord | None:
        """What is known of a row's model; None before it was entered."""
        return self._records().get(ModelKey(row.name, row.precision))

    def row(self, wanted: str) -> ServedModel:
        """The row that a category, a title or a technical name means; the first of several.

        Raises:
            NotFound: none does; names what is served.
        """
        rows = self._table.table.rows
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

    def statistics(self) -> JsonObject:
        """Counts, errors, latency and tokens by engine and by model since the start of the process."""
        return {
            **self._statistics.as_json(),
            "table_digest": self._table.digest,
            "unrecorded_calls": self._journal.dropped,
            "memory": [_memory_view(record) for record in self._registry.records()],
        }

    @property
    def digest(self) -> str:
        """Of the model table in force."""
        return self._table.digest

    # Asking.

    async def work(
        self,
        wanted: str,
        prompt: str,
        *,
        options: JsonObject | None = None,
        said: Mapping[str, Any] | None = None,
        owner: str = "",
    ) -> Call[Piece | Answer]:
        """Have an engine answer; the parts are pieces, and the checked answer at the end.

        Args:
            wanted: a category, a model, or `auto`.
            options: of the category's engine, by name.
            said: fields of `Sampling` that the caller set; what suits the engine stands for the others.
            owner: whose remembered conversations are meant.

        Raises:
            NotFound: nothing serves what is wanted. Reading the parts raises what `Engine.generate` does.
        """
        decision = await self._decide(wanted, prompt, among=self._engines)
        call: Call[Piece | Answer]
        call = Call(decision, _nothing())
        call.parts = self._work(call, prompt, options or {}, said or {}, owner)
        return call

    async def converse(
        self, wanted: str, asked: Generation, *, said: Mapping[str, Any] | None = None, answers: int = 1
    ) -> Call[tuple[int, Piece]]:
        """Have a model go on with a conversation or a text as it is; the parts are pieces, each with its answer's number.

        Args:
            asked: its `sampling` is not looked at.
            said: fields of `Sampling` that the caller set; what suits the category stands for the others.
            answers: how many, made side by side; each with a seed of its own where one is given.

        Raises:
            NotFound: nothing serves what is wanted. Reading the parts raises what `ModelDesk.lease` and
                `Runner.generate` do, and `ContextExceeded`.
        """
        if not 1 <= answers <= MOST_ANSWERS:
            raise InvalidInput(f"{answers} answers were asked for; 1 to {MOST_ANSWERS} are made", field="n")
        decision = await self._decide(wanted, _last_words(asked))
        asked = self._in_full(decision.category, asked, said or {})
        return Call(decision, self._converse(decision, asked, answers))

    async def embed(self, wanted: str, texts: Sequence[str]) -> tuple[CallDecision, list[list[float]], Usage]:
        """Unit vectors of texts, in order.

        Raises:
            NotFound, InvalidInput, ModelError, Overloaded, Exhausted: as `ModelDesk.lease` and `Runner.embed`.
        """
        decision = await self._decide("embeddings" if wanted in AUTO else wanted, "")
        with self._accounted(decision) as account:
            async with self._lease(decision.category) as runner:
                if not runner.facts.embeds:
                    raise InvalidInput(
                        f"{decision.title} makes no embeddings; name a model of SETTINGS.md that does", field="model"
                    )
                vectors, usage = await runner.embed(texts)
            account.hear(Piece(usage=usage))
        return decision, vectors, usage

    async def answer(
        self, category: Category, prompt: str, *, sampling: Sampling | None, options: JsonObject
    ) -> tuple[Category, str, Answer]:
        """Answer in one piece: the category that answered (`auto` chooses one), the model's name, the answer.

        Raises:
            NotFound, InvalidInput, ModelError, Overloaded, Exhausted: as `work` and the reading of its parts.
        """
        said = {} if sampling is None else {name: getattr(sampling, name) for name in Sampling.__dataclass_fields__}
        call = await self.work(category, prompt, options=options, said=said)
        answer = await whole(call)
        return call.decision.category, str(call.decision.model), answer

    async def load(self, wanted: str) -> ServedModel:
        """Load a model ahead of its use; errors as `row` and `ModelDesk.load`."""
        row = self.row(wanted)
        self._check_loads()
        await self._desk.load(row.category)
        return row

    async def unload(self, wanted: str) -> ServedModel:
        """Give a model's memory back once nobody uses it; errors as `row`."""
        row = self.row(wanted)
        await self._desk.unload(row.category)
        return row

    # Deciding.

    async def _decide(self, wanted: str, text: str, among: Mapping[Category, object] | None = None) -> CallDecision:
        """Who answers; `among` holds the categories that can."""
        try:
            if wanted in AUTO:
                rows = [row for row in self._table.table.rows if among is None or row.category in among]
                choice = await choose(text, candidates(rows, self._registry), self._reader)
                row = next(row for row in rows if row.category == choice.category)
                why: str = choice.why
                probability: float | None = choice.probability
            else:
                row = self._row_among(wanted, among)
                why, probability = f"{row.title} for {_words(row.category)}: it was asked for.", None
        except NotFound:
            self._statistics.unserved += 1
            raise
        return self._decision(wanted, row, why, probability)

    def _row_among(self, wanted: str, among: Mapping[Category, object] | None) -> ServedModel:
        row = self.row(wanted)
        if among is not None and row.category not in among:
            raise NotFound(
                f"no engine is for {row.category!r}; there are {', '.join(sorted(among)) or 'none'}", field="category"
            )
        return row

    def _decision(self, wanted: str, row: ServedModel, why: str, probability: float | None) -> CallDecision:
        return CallDecision(
            call_id=self._new_id(),
            asked_for=wanted,
            category=row.category,
            model=row.name,
            title=row.title,
            why=why,
            probability=probability,
            table_digest=self._table.digest,
            decided_at_unix_s=self._clock.now_unix_s(),
        )

    def _in_full(self, category: Category, asked: Generation, said: Mapping[str, Any]) -> Generation:
        """With the way of sampling, and the persona where a conversation has no system message of its own."""
        engine = self._engines.get(category)
        usual = _USUAL if engine is None else replace(engine.sampling, max_tokens=None)
        persona = self._table.table.persona.strip() if category == CHAT else ""
        messages = asked.messages
        if persona and messages and not any(message.role is Role.SYSTEM for message in messages):
            messages = (Message(role=Role.SYSTEM, content=persona), *messages)
        return replace(asked, messages=messages, sampling=completed(usual, said))

    # Answering.

    async def _work(
        self, call: Call[Piece | Answer], prompt: str, given: JsonObject, said: Mapping[str, Any], owner: str
    ) -> AsyncGenerator[Piece | Answer, None]:
        begun = False
        try:
            async with aclosing(self._by_engine(call.decision, prompt, given, said, owner)) as parts:
                async for part in parts:
                    begun = True
                    yield part
                return
        except InvalidInput as refusal:
            general = None if begun else self._in_its_place(call.decision, refusal, given)
            if general is None:
                raise
            missed = _words(call.decision.category)
            why = f"{general.title} for {_words(general.category)}: {missed} would need more ({refusal.message})."
            call.decision = self._decision(call.decision.asked_for, general, why, call.decision.probability)
        async with aclosing(self._by_engine(call.decision, prompt, given, said, owner)) as parts:
            async for part in parts:
                yield part

    def _in_its_place(self, decision: CallDecision, refusal: InvalidInput, given: JsonObject) -> ServedModel | None:
        """A general engine, where the one that we chose lacks an option that the caller could not know to give."""
        lacks = refusal.field in self.options_of(decision.category) and refusal.field not in given
        if decision.asked_for not in AUTO or not lacks or given:
            return None
        by_category = {row.category: row for row in self._table.table.rows}
        places = (by_category.get(category) for category in GENERAL if category in self._engines)
        return next((row for row in places if row is not None and row.category != decision.category), None)

    async def _by_engine(
        self, decision: CallDecision, prompt: str, given: JsonObject, said: Mapping[str, Any], owner: str
    ) -> AsyncGenerator[Piece | Answer, None]:
        engine = self._engines[decision.category]
        with self._accounted(decision) as account:
            self._check_loads()
            options: EngineOptions = engine_options(
                engine.options_type, given, sampling=completed(engine.sampling, said), owner=owner
            )
            async with aclosing(engine.generate_stream(prompt, options)) as parts:
                async for part in parts:
                    account.hear(part)
                    yield part

    async def _converse(
        self, decision: CallDecision, asked: Generation, answers: int
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        with self._accounted(decision, answers) as account:
            async with self._lease(decision.category) as runner:
                _check(asked, runner.facts, decision.title)
                many = _side_by_side(runner, asked, answers) if answers > 1 else _one(runner, asked)
                try:
                    async with aclosing(many) as parts:
                        async for part in parts:
                            account.hear(part[1])
                            yield part
                except InvalidInput as refusal:
                    raise await _explained(refusal, runner, asked) from None

    @contextlib.asynccontextmanager
    async def _lease(self, category: Category) -> AsyncIterator[Runner]:
        self._check_loads()
        async with self._desk.lease(category) as runner:
            yield runner

    def _check_loads(self) -> None:
        if not self._loads_models:
            raise ModelError(
                "this server was started with --skip-model-loading and answers no call that needs a model; "
                "start it without that option"
            )

    @contextlib.contextmanager
    def _accounted(self, decision: CallDecision, answers: int = 1) -> Iterator["_Account"]:
        """Count and tell a call, however it ends."""
        account = _Account(self._clock, answers)
        self._statistics.began(decision.category, decision.model)
        ending, code, message = Ending.FAILED, "internal", "an error of our own"
        try:
            yield account
            ending, code, message = Ending.SUCCEEDED, "", ""
        except (GeneratorExit, asyncio.CancelledError):
            # Whoever has heard the end may leave without waiting for us.
            ending, code, message = (Ending.SUCCEEDED if account.is_over else Ending.CANCELLED), "", ""
            raise
        except ConductorError as error:
            at_fault = isinstance(error, InvalidInput | NotFound)
            ending, code, message = Ending.REFUSED if at_fault else Ending.FAILED, error.code, error.message
            raise
        finally:
            self._settle(decision, account.outcome(ending, code, message))

    def _settle(self, decision: CallDecision, outcome: CallOutcome) -> None:
        record = CallRecord(decision, outcome)
        self._statistics.ended(record)
        self._journal.put(record)
        log.info("generated", **record.as_json())

    def _records(self) -> dict[ModelKey, ModelRecord]:
        return {record.key: record for record in self._registry.records()}


async def whole(call: Call[Piece | Answer]) -> Answer:
    """The answer of an engine's call, waited for."""
    answer = None
    async with aclosing(call.parts) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                answer = part
    assert answer is not None, "a stream ends with its answer"
    return answer


class _Account:
    """What is noted of a call while it goes on."""

    def __init__(self, clock: Clock, answers: int) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._first_s: float | None = None
        self._unfinished = answers
        self._finish = ""
        self._prompt_tokens = self._completion_tokens = self._cached_tokens = 0

    @property
    def is_over(self) -> bool:
        """Whether every answer was heard to its end."""
        return self._unfinished <= 0

    def hear(self, part: Piece | Answer) -> None:
        """Note what the part tells."""
        if self._first_s is None:
            self._first_s = self._clock.monotonic_s() - self._began_s
        if isinstance(part, Answer):
            return
        if part.finish is not None:
            self._unfinished -= 1
            self._finish = part.finish.value
        if part.usage is not None:
            self._prompt_tokens = max(self._prompt_tokens, part.usage.prompt_tokens)
            self._completion_tokens += part.usage.completion_tokens
            self._cached_tokens = max(self._cached_tokens, part.usage.cached_tokens)

    def outcome(self, ending: Ending, code: str, message: str) -> CallOutcome:
        """All of it, now that the call has ended."""
        return CallOutcome(
            ending=ending,
            error_code=code,
            error=message,
            finish=self._finish,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            cached_tokens=self._cached_tokens,
            first_token_s=self._first_s,
            duration_s=self._clock.monotonic_s() - self._began_s,
        )


class _NoReader:
    """Reads nothing out of requests."""

    async def categories(self, text: str) -> Mapping[Category, float]:
        """None."""
        return {}


async def _nothing() -> AsyncGenerator[Any, None]:
    return
    yield


async def _one(runner: Runner, asked: Generation) -> AsyncGenerator[tuple[int, Piece], None]:
    async with aclosing(runner.generate(asked)) as pieces:
        async for piece in pieces:
            yield 0, piece


async def _side_by_side(runner: Runner, asked: Generation, answers: int) -> AsyncGenerator[tuple[int, Piece], None]:
    """Several answers at a time; the first failure ends all of them."""
    row: asyncio.Queue[tuple[int, Piece | Exception | None]] = asyncio.Queue(answers * _BUFFERED_PIECES)

    async def write(number: int) -> None:
        seed = asked.sampling.seed
        own = asked if seed is None else replace(asked, sampling=replace(asked.sampling, seed=seed + number))
        try:
            async with aclosing(runner.generate(own)) as pieces:
                async for piece in pieces:
                    await row.put((number, piece))
        except Exception as failure:  # raised again where the row is read
            await row.put((number, failure))
        else:
            await row.put((number, None))

    writers = [asyncio.create_task(write(number)) for number in range(answers)]
    try:
        writing = answers
        while writing:
            number, part = await row.get()
            if isinstance(part, Exception):
                raise part
            if part is None:
                writing -= 1
            else:
                yield number, part
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


def _check(asked: Generation, facts: RunnerFacts, title: str) -> None:
    """See that the model can do what is asked, as far as its facts tell."""
    most, wanted = facts.context_tokens, asked.sampling.max_tokens
    if wanted is not None and most and wanted > most:
        raise ContextExceeded(
            f"max_tokens is {wanted}, but the context of {title} holds {most} tokens, prompt and answer together; "
            "ask for less",
            field="max_tokens",
            details={"context_tokens": most},
        )
    if asked.form is not None and not facts.constrains:
        raise InvalidInput(
            f"{title} cannot be held to a form here; ask for plain text, or have the category data_extraction do it",
            field="form",
        )
    if asked.suffix and not facts.fills_in:
        raise InvalidInput(f"{title} does not fill in; leave suffix out", field="suffix")


async def _explained(refusal: InvalidInput, runner: Runner, asked: Generation) -> InvalidInput:
    """The refusal, with the numbers where it is about the length; counting happens only here, where it costs nobody."""
    if isinstance(refusal, ContextExceeded):
        return refusal
    try:
        tokens = await runner.count_tokens(asked)
    except ConductorError:
        return refusal
    most, wanted = runner.facts.context_tokens, asked.sampling.max_tokens
    if not most or tokens + (1 if wanted is None else wanted) <= most:
        return refusal
    answer = "" if wanted is None else f" and max_tokens asks for {wanted} more"
    return ContextExceeded(
        f"the prompt has {tokens} tokens{answer}, but the model's context holds {most} tokens, prompt and answer together; "
        "shorten the prompt, or ask for less",
        field="messages" if asked.messages else "prompt",
        details={"prompt_tokens": tokens, "context_tokens": most},
    )


def _last_words(asked: Generation) -> str:
    """What the caller wants, to choose who answers it."""
    users = (message.content for message in reversed(asked.messages) if message.role is Role.USER)
    return next(users, asked.prompt)


def _words(category: Category) -> str:
    return category.replace("_", " ")


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
