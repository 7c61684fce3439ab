"""The runner that a lease hands out: counts what is generated, and tells of failures after which a model may be dead."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from conductor.domain.errors import ModelError
from conductor.domain.generation import Generation, Piece, Usage
from conductor.serving.ports import Runner, RunnerFacts


class LeasedRunner:
    """A runner for as long as its lease lasts.

    Args:
        done: called with what a generation took when it ended well.
        failed: called when the model failed; not when the request was at fault.
    """

    def __init__(
        self, runner: Runner, *, done: Callable[[Usage | None], None], failed: Callable[[ModelError], None]
    ) -> None:
        self._runner = runner
        self._done = done
        self._failed = failed

    @property
    def facts(self) -> RunnerFacts:
        """What it is."""
        return self._runner.facts

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """As `Runner.generate`."""
        usage: Usage | None = None
        try:
            async with aclosing(self._runner.generate(asked)) as pieces:
                async for piece in pieces:
                    usage = piece.usage or usage
                    yield piece
        except ModelError as failure:
            self._failed(failure)
            raise
        self._done(usage)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """As `Runner.embed`."""
        try:
            vectors, usage = await self._runner.embed(texts)
        except ModelError as failure:
            self._failed(failure)
            raise
        self._done(usage)
        return vectors, usage

    async def count_tokens(self, asked: Generation) -> int:
        """As `Runner.count_tokens`."""
        try:
            return await self._runner.count_tokens(asked)
        except ModelError as failure:
            self._failed(failure)
            raise

    async def close(self) -> None:
        """Nothing: the model belongs to those who lent it, and others may be using it."""
