"""Have an engine answer, which does more than a prompt: its options read, its answer kept where it is certain to repeat.

Where the engine that `auto` chose lacks an option that the caller could not know to give, a general one takes its place.

Not covered: what engines do (`serving.engines`); who is asked at first (`decisions`).
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from conductor.app.serving.accounts import Accounts
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.decisions import AUTO, Deciding
from conductor.app.serving.kept_answers import KeptAnswers
from conductor.app.serving.lending import Lending
from conductor.app.serving.models import ServedModels
from conductor.app.serving.open_call import Call, nothing
from conductor.app.serving.options import as_sent, completed, engine_options
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Piece
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine, EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """What an engine is asked.

    Args:
        options: of the category's engine, by name.
        said: fields of `Sampling` that the caller set; what suits the engine stands for the others.
        owner: whose remembered conversations are meant.
        cache: what is wanted of kept answers; says what became of it from the first part on.
    """

    prompt: str
    options: JsonObject = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    cache: CacheUse = field(default_factory=CacheUse)


class EngineCalls:
    """Makes calls to engines.

    Args:
        engines: by category.
        deciding: names the general engine that takes another one's place.
        kept: answers of earlier calls.
    """

    def __init__(
        self,
        engines: Mapping[Category, Engine[Any]],
        *,
        lending: Lending,
        served: ServedModels,
        deciding: Deciding,
        accounts: Accounts,
        kept: KeptAnswers,
    ) -> None:
        self._engines = engines
        self._lending = lending
        self._served = served
        self._deciding = deciding
        self._accounts = accounts
        self._kept = kept

    def of(self, decision: CallDecision, request: EngineRequest) -> Call[Piece | Answer]:
        """The call; reading its parts raises what `Engine.generate` does."""
        call: Call[Piece | Answer] = Call(decision, nothing())
        call.parts = self._parts(call, request)
        return call

    async def _parts(self, call: Call[Piece | Answer], request: EngineRequest) -> AsyncGenerator[Piece | Answer, None]:
        begun = False
        try:
            async with aclosing(self._by_engine(call.decision, request)) as parts:
                async for part in parts:
                    begun = True
                    yield part
                return
        except InvalidInput as refusal:
            other = None if begun else self._in_its_place(call.decision, refusal, request.options)
            if other is None:
                raise
            call.decision = other
        async with aclosing(self._by_engine(call.decision, request)) as parts:
            async for part in parts:
                yield part

    def _in_its_place(self, decision: CallDecision, refusal: InvalidInput, given: JsonObject) -> CallDecision | None:
        """A general engine, where the one that we chose lacks an option that the caller could not know to give."""
        lacks = (refusal.field or "").startswith("options.")
        if decision.asked_for not in AUTO or not lacks or given:
            return None
        return self._deciding.instead(decision, refusal, self._engines)

    async def _by_engine(self, decision: CallDecision, request: EngineRequest) -> AsyncGenerator[Piece | Answer, None]:
        engine = self._engines[decision.category]
        with self._accounts.of(decision) as account:
            self._lending.check()
            options: EngineOptions = engine_options(
                engine.options_type,
                request.options,
                sampling=completed(engine.sampling, request.said),
                owner=request.owner,
            )
            slot = None
            if engine.repeats(options):
                row = self._served.row_of(decision.category, decision.model)
                slot = await self._kept.work(row, request.prompt, options, engine.persona, request.cache)
            make = partial(engine.generate_stream, request.prompt, options)
            try:
                async with aclosing(self._kept.parts(slot, request.cache, account, make)) as parts:
                    async for part in parts:
                        account.hear(part)
                        yield part
            except InvalidInput as refusal:
                raise as_sent(refusal, engine.options_type) from None
