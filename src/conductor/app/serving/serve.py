"""Have a language model answer: choose who does, follow the answer as it is written, and account for it afterwards.

There are two ways to ask. `work` gives a request to an engine, which does more than a prompt; `converse` gives a
conversation or a text to a category's model as it is, which is what clients of the OpenAI API mean. Both decide first
(category, model, why, digest of the table) and tell decision and outcome to the `CallJournal` when the call has ended.

An answer that is certain to come out the same again is given without a model where it is kept (`KeptAnswers`); it is a call
like any other.

Closing a call's parts ends its generation within one token, whoever does it and whenever.

Not covered: who may call, and how much (the gate); models that are asked through the gateway without being parsed.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from conductor.app.serving.accounts import Account, Accounts
from conductor.app.serving.answers import check_ability, explained, one_answer, side_by_side
from conductor.app.serving.calls import CallDecision, CallJournal
from conductor.app.serving.decisions import AUTO, Deciding
from conductor.app.serving.kept_answers import CacheUse, KeptAnswers, Slot
from conductor.app.serving.models import ServedModels, TableInForce
from conductor.app.serving.open_call import Call, nothing
from conductor.app.serving.options import completed, engine_options, option_names, options_form
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput, ModelError, NotFound
from conductor.domain.generation import Generation, Message, Piece, Role, Sampling, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.engine import Answer, Engine, EngineOptions, ModelDesk
from conductor.serving.ports import CategoryReader, Runner
from conductor.serving.registry import ModelRecord, Registry

CHAT: Final = Category("conversational_chat")
_EMBEDDINGS: Final = Category("embeddings")
MOST_ANSWERS: Final = 16
_USUAL: Final = Sampling(temperature=1.0)


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
        statistics: shared with others who count calls; its own where None.
        loads_models: False refuses every call that needs a model (`--skip-model-loading`, or a server that only looks).
        kept: answers of earlier calls; None keeps none.
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
        statistics: ServingStatistics | None = None,
        loads_models: bool = True,
        kept: KeptAnswers | None = None,
    ) -> None:
        self._desk = desk
        self._engines = engines
        self._loads_models = loads_models
        self._kept = kept or KeptAnswers(None, clock=clock, files_of=lambda _model: None, made_by="")
        self._served = ServedModels(table, registry)
        self._deciding = Deciding(self._served, registry=registry, reader=reader, clock=clock, new_id=new_id)
        self._journal = journal or CallJournal()
        self._clock = clock
        self._statistics = statistics or ServingStatistics()
        self._accounts = Accounts(clock=clock, statistics=self._statistics, journal=self._journal)
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

    def options_form(self, category: Category) -> JsonObject:
        """JSON Schema of the further options that the category's engine takes."""
        engine = self._engines.get(category)
        return {} if engine is None else options_form(engine.options_type)  # type: ignore[arg-type]  # a class is hashable

    def models(self) -> Sequence[tuple[ServedModel, ModelState]]:
        """The rows of the model table, and what has become of each."""
        return self._served.states()

    def record_of(self, row: ServedModel) -> ModelRecord | None:
        """What is known of a row's model; None before it was entered."""
        return self._served.record_of(row)

    def row(self, wanted: str) -> ServedModel:
        """The row that a category, a title or a technical name means; errors as `ServedModels.row`."""
        return self._served.row(wanted)

    def statistics(self) -> JsonObject:
        """Counts, errors, latency and tokens by engine and by model since the start of the process."""
        return {
            **self._statistics.as_json(self._clock.monotonic_s()),
            "table_digest": self._served.digest,
            "unrecorded_calls": self._journal.dropped,
            "memory": list(self._served.memory()),
            "cache": self._kept.as_json(),
        }

    def failing(self) -> Mapping[str, str]:
        """Technical names of the models that fail too often, whoever asked them, each with how often and why."""
        return dict(self._statistics.failing(self._clock.monotonic_s()))

    @property
    def digest(self) -> str:
        """Of the model table in force."""
        return self._served.digest

    # Asking.

    async def work(
        self,
        wanted: str,
        prompt: str,
        *,
        options: JsonObject | None = None,
        said: Mapping[str, Any] | None = None,
        owner: str = "",
        cache: CacheUse | None = None,
    ) -> Call[Piece | Answer]:
        """Have an engine answer; the parts are pieces, and the checked answer at the end.

        Args:
            wanted: a category, a model, or `auto`.
            options: of the category's engine, by name.
            said: fields of `Sampling` that the caller set; what suits the engine stands for the others.
            owner: whose remembered conversations are meant.
            cache: what is wanted of kept answers; says what became of it from the first part on.

        Raises:
            NotFound: nothing serves what is wanted. Reading the parts raises what `Engine.generate` does.
        """
        decision = await self._decide(wanted, prompt, among=self._engines)
        call: Call[Piece | Answer]
        call = Call(decision, nothing())
        call.parts = self._work(call, prompt, options or {}, said or {}, owner, cache or CacheUse())
        return call

    async def converse(
        self,
        wanted: str,
        asked: Generation,
        *,
        said: Mapping[str, Any] | None = None,
        answers: int = 1,
        cache: CacheUse | None = None,
    ) -> Call[tuple[int, Piece]]:
        """Have a model go on with a conversation or a text as it is; the parts are pieces, each with its answer's number.

        Args:
            asked: its `sampling` is not looked at.
            said: fields of `Sampling` that the caller set; what suits the category stands for the others.
            answers: how many, made side by side; each with a seed of its own where one is given.
            cache: as `work`; several answers are never kept.

        Raises:
            NotFound: nothing serves what is wanted. Reading the parts raises what `ModelDesk.lease` and
                `Runner.generate` do, and `ContextExceeded`.
        """
        if not 1 <= answers <= MOST_ANSWERS:
            raise InvalidInput(f"{answers} answers were asked for; 1 to {MOST_ANSWERS} are made", field="n")
        decision = await self._decide(wanted, _last_words(asked))
        asked = self._in_full(decision.category, asked, said or {})
        return Call(decision, self._converse(decision, asked, answers, cache or CacheUse()))

    async def embed(
        self, wanted: str, texts: Sequence[str], *, cache: CacheUse | None = None
    ) -> tuple[CallDecision, list[list[float]], Usage]:
        """Unit vectors of texts, in order; a model is asked for those that are not kept.

        Raises:
            NotFound, InvalidInput, ModelError, Overloaded, Exhausted: as `ModelDesk.lease` and `Runner.embed`.
        """
        try:
            decision = await self._decide(_EMBEDDINGS if wanted in AUTO else wanted, "")
        except NotFound:
            if wanted not in AUTO:
                raise
            raise NotFound(
                "no model is for embeddings; give SETTINGS.md a row Embeddings, or name a model", field="model"
            ) from None

        async def make(unknown: Sequence[str]) -> tuple[list[list[float]], Usage]:
            async with self._lease(decision.category) as runner:
                if not runner.facts.embeds:
                    raise InvalidInput(
                        f"{decision.title} makes no embeddings; name a model of SETTINGS.md that does", field="model"
                    )
                return await runner.embed(unknown)

        with self._accounts.of(decision) as account:
            self._check_loads()
            row = self._served.row_of(decision.category, decision.model)
            vectors, usage = await self._kept.vectors(row, texts, cache or CacheUse(), account, make)
            account.hear(Piece(usage=usage))
        return decision, vectors, usage

    async def load(self, wanted: str) -> ServedModel:
        """Load a model ahead of its use; errors as `row` and `ModelDesk.load`."""
        row = self.row(wanted)
        self._check_loads()
        await self._desk.load(row.category)
        return row

    async def unload(self, wanted: str) -> ServedModel:
        """Give a model's memory back once nobody uses it, and forget its kept answers; errors as `row`."""
        row = self.row(wanted)
        self._kept.forget(row.name)
        await self._desk.unload(row.category)
        return row

    def forget(self, wanted: str | None = None) -> int:
        """Forget a model's kept answers, or all; how many of them were in memory. Errors as `row`."""
        return self._kept.forget(None if wanted is None else self.row(wanted).name)

    async def _decide(self, wanted: str, text: str, among: Mapping[Category, object] | None = None) -> CallDecision:
        try:
            return await self._deciding.decide(wanted, text, among)
        except NotFound as unserved:
            self._statistics.unserved += 1
            if wanted not in self._engines:
                raise
            raise NotFound(
                f"no model serves {wanted}; give it one in SETTINGS.md, or ask for `auto`", field=unserved.field
            ) from None

    def _in_full(self, category: Category, asked: Generation, said: Mapping[str, Any]) -> Generation:
        """With the way of sampling, and the persona where a conversation has no system message of its own."""
        engine = self._engines.get(category)
        usual = _USUAL if engine is None else replace(engine.sampling, max_tokens=None)
        persona = self._served.persona if category == CHAT else ""
        messages = asked.messages
        if persona and messages and not any(message.role is Role.SYSTEM for message in messages):
            messages = (Message(role=Role.SYSTEM, content=persona), *messages)
        return replace(asked, messages=messages, sampling=completed(usual, said))

    # Answering.

    async def _work(
        self,
        call: Call[Piece | Answer],
        prompt: str,
        given: JsonObject,
        said: Mapping[str, Any],
        owner: str,
        cache: CacheUse,
    ) -> AsyncGenerator[Piece | Answer, None]:
        begun = False
        try:
            async with aclosing(self._by_engine(call.decision, prompt, given, said, owner, cache)) as parts:
                async for part in parts:
                    begun = True
                    yield part
                return
        except InvalidInput as refusal:
            other = None if begun else self._in_its_place(call.decision, refusal, given)
            if other is None:
                raise
            call.decision = other
        async with aclosing(self._by_engine(call.decision, prompt, given, said, owner, cache)) as parts:
            async for part in parts:
                yield part

    def _in_its_place(self, decision: CallDecision, refusal: InvalidInput, given: JsonObject) -> CallDecision | None:
        """A general engine, where the one that we chose lacks an option that the caller could not know to give."""
        lacks = refusal.field in self.options_of(decision.category)
        if decision.asked_for not in AUTO or not lacks or given:
            return None
        return self._deciding.instead(decision, refusal, self._engines)

    async def _by_engine(
        self,
        decision: CallDecision,
        prompt: str,
        given: JsonObject,
        said: Mapping[str, Any],
        owner: str,
        cache: CacheUse,
    ) -> AsyncGenerator[Piece | Answer, None]:
        engine = self._engines[decision.category]
        with self._accounts.of(decision) as account:
            self._check_loads()
            options: EngineOptions = engine_options(
                engine.options_type, given, sampling=completed(engine.sampling, said), owner=owner
            )
            slot = None
            if engine.repeats(options):
                row = self._served.row_of(decision.category, decision.model)
                slot = await self._kept.work(row, prompt, options, engine.persona, cache)
            make = partial(engine.generate_stream, prompt, options)
            async with aclosing(self._kept.parts(slot, cache, account, make)) as parts:
                async for part in parts:
                    account.hear(part)
                    yield part

    async def _converse(
        self, decision: CallDecision, asked: Generation, answers: int, cache: CacheUse
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        with self._accounts.of(decision, answers) as account:
            self._check_loads()
            if answers > 1:
                cache.passed()
                many = self._written(decision, asked, answers)
            else:
                row = self._served.row_of(decision.category, decision.model)
                slot = await self._kept.conversation(row, asked, cache)
                many = self._one_kept(slot, cache, account, partial(self._written, decision, asked, 1))
            async with aclosing(many) as parts:
                async for part in parts:
                    account.hear(part[1])
                    yield part

    async def _one_kept(
        self,
        slot: Slot | None,
        cache: CacheUse,
        account: Account,
        make: Callable[[], AsyncGenerator[tuple[int, Piece], None]],
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """One answer, kept or made."""

        async def pieces() -> AsyncGenerator[Piece | Answer, None]:
            async with aclosing(make()) as made:
                async for _, piece in made:
                    yield piece

        async with aclosing(self._kept.parts(slot, cache, account, pieces)) as parts:
            async for part in parts:
                if isinstance(part, Piece):
                    yield 0, part

    async def _written(
        self, decision: CallDecision, asked: Generation, answers: int
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """What the model writes now."""
        async with self._lease(decision.category) as runner:
            check_ability(asked, runner.facts, decision.title)
            many = side_by_side(runner, asked, answers) if answers > 1 else one_answer(runner, asked)
            try:
                async with aclosing(many) as parts:
                    async for part in parts:
                        yield part
            except InvalidInput as refusal:
                raise await explained(refusal, runner, asked) from None

    @contextlib.asynccontextmanager
    async def _lease(self, category: Category) -> AsyncIterator[Runner]:
        self._check_loads()
        async with self._desk.lease(category) as runner:
            yield runner

    def _check_loads(self) -> None:
        if not self._loads_models:
            raise ModelError(
                "this server was started with --skip-model-loading, or only to look, and answers no call that needs a "
                "model; start one that does with `conductor up`"
            )


def _last_words(asked: Generation) -> str:
    """What the caller wants, to choose who answers it."""
    users = (message.content for message in reversed(asked.messages) if message.role is Role.USER)
    return next(users, asked.prompt)
