"""Have a category's model go on with a conversation or a text as it is, which is what clients of the OpenAI API mean.

What the caller left open is filled in: the way of sampling that suits the category, and the persona. A single answer is
given again where it is kept; several are made side by side.

Not covered: who is asked (`decisions`); what one model can do, and writes (`answers`).
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from conductor.app.serving.accounts import Account, Accounts
from conductor.app.serving.answers import check_ability, explained, one_answer, side_by_side
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.kept_answers import KeptAnswers, Slot
from conductor.app.serving.lending import Lending
from conductor.app.serving.models import ServedModels
from conductor.app.serving.options import completed
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Message, Piece, Role, Sampling
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine

CHAT: Final = Category("conversational_chat")
_USUAL: Final = Sampling(temperature=1.0)


class Conversations:
    """Goes on with conversations and texts.

    Args:
        engines: by category; they say which way of sampling suits it.
        kept: answers of earlier calls.
    """

    def __init__(
        self,
        engines: Mapping[Category, Engine[Any]],
        *,
        lending: Lending,
        served: ServedModels,
        accounts: Accounts,
        kept: KeptAnswers,
    ) -> None:
        self._engines = engines
        self._lending = lending
        self._served = served
        self._accounts = accounts
        self._kept = kept

    def in_full(self, category: Category, asked: Generation, said: Mapping[str, Any]) -> Generation:
        """With the way of sampling, and the persona where a conversation has no system message of its own."""
        engine = self._engines.get(category)
        usual = _USUAL if engine is None else replace(engine.sampling, max_tokens=None)
        persona = self._served.persona if category == CHAT else ""
        messages = asked.messages
        if persona and messages and not any(message.role is Role.SYSTEM for message in messages):
            messages = (Message(role=Role.SYSTEM, content=persona), *messages)
        return replace(asked, messages=messages, sampling=completed(usual, said))

    async def parts(
        self, decision: CallDecision, asked: Generation, answers: int, cache: CacheUse
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """Pieces, each with its answer's number.

        Args:
            asked: in full.
            answers: how many; more than one are never kept.

        Raises:
            ContextExceeded: and what `Lending.lease` and `Runner.generate` raise.
        """
        with self._accounts.of(decision, answers) as account:
            self._lending.check()
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
        async with self._lending.lease(decision.category) as runner:
            check_ability(asked, runner.facts, decision.title)
            many = side_by_side(runner, asked, answers) if answers > 1 else one_answer(runner, asked)
            try:
                async with aclosing(many) as parts:
                    async for part in parts:
                        yield part
            except InvalidInput as refusal:
                raise await explained(refusal, runner, asked) from None


def last_words(asked: Generation) -> str:
    """What the caller wants, to choose who answers it."""
    users = (message.content for message in reversed(asked.messages) if message.role is Role.USER)
    return next(users, asked.prompt)


def has_pictures(asked: Generation) -> bool:
    """Whether only a model that sees can answer."""
    return any(message.parts for message in asked.messages)
