"""Have a model turn texts into unit vectors; it is asked only for those that are not kept."""

from collections.abc import Sequence
from typing import Final

from conductor.app.serving.accounts import Accounts
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.calls import CallDecision
from conductor.app.serving.kept_answers import KeptAnswers
from conductor.app.serving.lending import Lending
from conductor.app.serving.models import ServedModels
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Piece, Usage
from conductor.domain.model import Category

#: Whose row is asked where the caller names none.
EMBEDDINGS: Final = Category("embeddings")


class Embedding:
    """Embeds texts.

    Args:
        kept: vectors of earlier calls.
    """

    def __init__(self, *, lending: Lending, served: ServedModels, accounts: Accounts, kept: KeptAnswers) -> None:
        self._lending = lending
        self._served = served
        self._accounts = accounts
        self._kept = kept

    async def of(
        self, decision: CallDecision, texts: Sequence[str], cache: CacheUse
    ) -> tuple[list[list[float]], Usage]:
        """Unit vectors in the order of the texts, and what they took; errors as `Lending.lease` and `Runner.embed`."""

        async def make(unknown: Sequence[str]) -> tuple[list[list[float]], Usage]:
            async with self._lending.lease(decision.category) as runner:
                if not runner.facts.embeds:
                    raise InvalidInput(
                        f"{decision.title} makes no embeddings; name a model of SETTINGS.md that does", field="model"
                    )
                return await runner.embed(unknown)

        with self._accounts.of(decision) as account:
            self._lending.check()
            row = self._served.row_of(decision.category, decision.model)
            vectors, usage = await self._kept.vectors(row, texts, cache, account, make)
            account.hear(Piece(usage=usage))
        return vectors, usage
