"""What faces ask of language models: answers, vectors, what there is, and to load or forget it.

There are two ways to ask for an answer. `work` gives a request to an engine, which does more than a prompt (`engine_calls`);
`converse` gives a conversation or a text to a category's model as it is (`conversations`). Both decide first (category,
model, why, digest of the table) and tell decision and outcome to the `CallJournal` when the call has ended.

An answer that is certain to come out the same again is given without a model where it is kept (`KeptAnswers`); it is a call
like any other.

Closing a call's parts ends its generation within one token, whoever does it and whenever.

Not covered: who may call, and how much (the gate); models that are asked through the gateway without being parsed.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from conductor.app.serving.accounts import Accounts
from conductor.app.serving.answers import SeesNoPictures
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision, CallJournal
from conductor.app.serving.conversations import Conversations, has_pictures, last_words
from conductor.app.serving.decisions import AUTO, Deciding
from conductor.app.serving.embedding import EMBEDDINGS, Embedding
from conductor.app.serving.engine_calls import EngineCalls, EngineRequest
from conductor.app.serving.kept_answers import KeptAnswers
from conductor.app.serving.lending import Lending
from conductor.app.serving.models import ServedModels, TableInForce
from conductor.app.serving.open_call import Call, nothing
from conductor.app.serving.options import option_names, options_form
from conductor.app.serving.statistics import ServingStatistics
from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.generation import Generation, Piece, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.engine import Answer, Engine, ModelDesk
from conductor.serving.ports import CategoryReader
from conductor.serving.registry import ModelRecord, Registry

MOST_ANSWERS: Final = 16


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
        self._engines = engines
        self._lending = Lending(desk, loads_models=loads_models)
        self._kept = kept or KeptAnswers(None, clock=clock, files_of=lambda _model: None, made_by="")
        self._served = ServedModels(table, registry)
        self._deciding = Deciding(self._served, registry=registry, reader=reader, clock=clock, new_id=new_id)
        self._journal = journal or CallJournal()
        self._clock = clock
        self._statistics = statistics or ServingStatistics()
        accounts = Accounts(clock=clock, statistics=self._statistics, journal=self._journal)
        self._engine_calls = EngineCalls(
            engines,
            lending=self._lending,
            served=self._served,
            deciding=self._deciding,
            accounts=accounts,
            kept=self._kept,
        )
        self._conversations = Conversations(
            engines, lending=self._lending, served=self._served, accounts=accounts, kept=self._kept
        )
        self._embedding = Embedding(lending=self._lending, served=self._served, accounts=accounts, kept=self._kept)
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
        request = EngineRequest(
            prompt=prompt, options=options or {}, said=said or {}, owner=owner, cache=cache or CacheUse()
        )
        return self._engine_calls.of(decision, request)

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
            InvalidInput: pictures are among it, and no model sees.
        """
        if not 1 <= answers <= MOST_ANSWERS:
            raise InvalidInput(f"{answers} answers were asked for; 1 to {MOST_ANSWERS} are made", field="n")
        said, cache, showing = said or {}, cache or CacheUse(), has_pictures(asked)
        decision = await self._decide(wanted, last_words(asked), with_pictures=showing)
        if showing and wanted in AUTO:
            call = Call(decision, nothing())
            call.parts = self._seen(call, asked, said, answers, cache)
            return call
        asked = self._conversations.in_full(decision.category, asked, said)
        return Call(decision, self._conversations.parts(decision, asked, answers, cache))

    async def _seen(
        self, call: Call[tuple[int, Piece]], asked: Generation, said: Mapping[str, Any], answers: int, cache: CacheUse
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """The parts; where the model that Conductor chose turns out to be blind when it is loaded, another one's."""
        tried: set[Category] = set()
        while True:
            decision = call.decision
            whole = self._conversations.in_full(decision.category, asked, said)
            try:
                async with aclosing(self._conversations.parts(decision, whole, answers, cache)) as parts:
                    async for part in parts:
                        yield part
            except SeesNoPictures:
                tried.add(decision.category)
                other = await self._decide(decision.asked_for, last_words(asked), with_pictures=True)
                if other.category in tried:
                    raise
                call.decision = other
            else:
                return

    async def embed(
        self, wanted: str, texts: Sequence[str], *, cache: CacheUse | None = None
    ) -> tuple[CallDecision, list[list[float]], Usage]:
        """Unit vectors of texts, in order; a model is asked for those that are not kept.

        Raises:
            NotFound, InvalidInput, ModelError, Overloaded, Exhausted: as `ModelDesk.lease` and `Runner.embed`.
        """
        try:
            decision = await self._decide(EMBEDDINGS if wanted in AUTO else wanted, "")
        except NotFound:
            if wanted not in AUTO:
                raise
            raise NotFound(
                "no model is for embeddings; give SETTINGS.md a row Embeddings, or name a model", field="model"
            ) from None
        vectors, usage = await self._embedding.of(decision, texts, cache or CacheUse())
        return decision, vectors, usage

    # Loading and forgetting.

    async def load(self, wanted: str) -> ServedModel:
        """Load a model ahead of its use; errors as `row` and `ModelDesk.load`."""
        row = self.row(wanted)
        await self._lending.load(row.category)
        return row

    async def unload(self, wanted: str) -> ServedModel:
        """Give a model's memory back once nobody uses it, and forget its kept answers; errors as `row`."""
        row = self.row(wanted)
        self._kept.forget(row.name)
        await self._lending.unload(row.category)
        return row

    def forget(self, wanted: str | None = None) -> int:
        """Forget a model's kept answers, or all; how many of them were in memory. Errors as `row`."""
        return self._kept.forget(None if wanted is None else self.row(wanted).name)

    async def _decide(
        self, wanted: str, text: str, among: Mapping[Category, object] | None = None, *, with_pictures: bool = False
    ) -> CallDecision:
        try:
            return await self._deciding.decide(wanted, text, among, with_pictures=with_pictures)
        except NotFound as unserved:
            self._statistics.unserved += 1
            if wanted not in self._engines:
                raise
            raise NotFound(
                f"no model serves {wanted}; give it one in SETTINGS.md, or ask for `auto`", field=unserved.field
            ) from None
