"""Make one answer out of several generations: pieces pass on as they come, the ending is told once, tokens are added up.

Leaves what is asked, and how often, to the engine. Generations side by side are heard each on its own, and joined.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from conductor.domain.generation import Finish, Generation, Piece, Usage
from conductor.domain.json import JsonObject
from conductor.serving.engine import Answer
from conductor.serving.ports import Runner

#: Told where a repair was due and could not be asked for; what was written first stands then.
NO_ROOM: Final = "no second attempt was made: it does not fit the model's context together with the first"


class Hearing:
    """What was heard of a model during one answer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finish = Finish.STOP
        self._prompt_tokens = self._completion_tokens = self._cached_tokens = 0

    @property
    def text(self) -> str:
        """Of the last generation."""
        return self.texts[-1] if self.texts else ""

    @property
    def usage(self) -> Usage:
        """Of all generations."""
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            cached_tokens=self._cached_tokens,
        )

    async def listen(self, runner: Runner, asked: Generation) -> AsyncGenerator[Piece, None]:
        """Pass one generation on without its ending; closing this closes it. Errors as `Runner.generate`."""
        self.texts.append("")
        self.finish = Finish.STOP
        async with aclosing(runner.generate(asked)) as pieces:
            async for piece in pieces:
                self.texts[-1] += piece.text
                self.finish = piece.finish or self.finish
                if piece.usage is not None:
                    self._prompt_tokens += piece.usage.prompt_tokens
                    self._completion_tokens += piece.usage.completion_tokens
                    self._cached_tokens += piece.usage.cached_tokens
                if piece.text or piece.tool_calls or piece.scores:
                    yield Piece(text=piece.text, tool_calls=piece.tool_calls, scores=piece.scores)

    async def hear(self, runner: Runner, asked: Generation) -> str:
        """One generation that nobody watches. Errors as `Runner.generate`."""
        async with aclosing(self.listen(runner, asked)) as pieces:
            async for _ in pieces:
                pass
        return self.text

    def join(self, other: "Hearing") -> None:
        """What was heard beside this, as if it had come after it."""
        self.texts += other.texts
        self.finish = other.finish if other.texts else self.finish
        self._prompt_tokens += other.usage.prompt_tokens
        self._completion_tokens += other.usage.completion_tokens
        self._cached_tokens += other.usage.cached_tokens

    def ending(self) -> Piece:
        """The last piece of the whole answer."""
        return Piece(finish=self.finish, usage=self.usage)

    def answer(self, text: str, facts: JsonObject, notes: tuple[str, ...] = ()) -> Answer:
        """The answer, with how the last generation ended and what all of them took."""
        return Answer(text=text, facts=facts, notes=notes, finish=self.finish, usage=self.usage)
