"""Lend models to calls, or refuse in a server that loads none."""

import contextlib
from collections.abc import AsyncIterator

from conductor.domain.errors import ModelError
from conductor.domain.model import Category
from conductor.serving.engine import ModelDesk
from conductor.serving.ports import Runner


class Lending:
    """Whoever needs a model comes here.

    Args:
        desk: gives models.
        loads_models: False refuses every call that needs a model.
    """

    def __init__(self, desk: ModelDesk, *, loads_models: bool) -> None:
        self._desk = desk
        self._loads_models = loads_models

    def check(self) -> None:
        """See that models are lent at all.

        Raises:
            ModelError: they are not; says how to start a server that does.
        """
        if not self._loads_models:
            raise ModelError(
                "this server was started with --skip-model-loading, or only to look, and answers no call that needs a "
                "model; start one that does with `conductor up`",
                details={"reason": "not_loading"},
            )

    @contextlib.asynccontextmanager
    async def lease(self, category: Category) -> AsyncIterator[Runner]:
        """The category's model; errors as `check` and `ModelDesk.lease`."""
        self.check()
        async with self._desk.lease(category) as runner:
            yield runner

    async def load(self, category: Category) -> None:
        """Load the category's model ahead of its use; errors as `lease`."""
        self.check()
        await self._desk.load(category)

    async def unload(self, category: Category) -> None:
        """Give its memory back once nobody uses it."""
        await self._desk.unload(category)
