"""Watch a language model of other people while it is asked: it may fail, rest and come back at any time."""

import asyncio
from collections.abc import Callable, Sequence

from conductor.adapters.minds.worker import WorkerMind
from conductor.app.minds.chosen import EndpointMind
from conductor.decisions.ports import LanguageModel, Proposal
from conductor.domain.errors import ConductorError, ModelError


class WatchedMind:
    """A language model of other people, and how it fared when it was asked last; thread-safe."""

    def __init__(self, mind: LanguageModel) -> None:
        self._mind = mind
        #: Why it could not answer; empty if it could, or was not asked yet.
        self.failure = ""
        #: Called in any thread whenever it has answered.
        self.on_answer: Callable[[], object] | None = None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._mind.name

    @property
    def checksum(self) -> str:
        """See `LanguageModel.checksum`."""
        return self._mind.checksum

    @property
    def is_loading(self) -> bool:
        """Whether its weights are on their way into memory."""
        return isinstance(self._mind, WorkerMind) and self._mind.is_loading

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """See `LanguageModel.propose`."""
        try:
            proposals = self._mind.propose(texts)
        except ConductorError as failure:
            self.failure = failure.message
            raise
        self.failure = ""
        if (heard := self.on_answer) is not None:
            heard()
        return proposals

    async def wake(self) -> str:
        """Load it, or see that its endpoint is there; its checksum.

        Raises:
            ModelError: it cannot be used; names the remedy.
        """
        try:
            if isinstance(self._mind, EndpointMind):
                await self._mind.endpoint.reach()
            checksum = await self._loaded()
        except ModelError as failure:
            self.failure = failure.message
            raise
        self.failure = ""
        return checksum

    async def _loaded(self) -> str:
        while True:
            try:
                return await asyncio.to_thread(lambda: self._mind.checksum)
            except ModelError:
                if not self.is_loading:  # it waits for the limit of a question only
                    raise
