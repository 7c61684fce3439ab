"""A model that says what the test tells it to, and keeps to the port: whole characters, stops, limits, usage, closing."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.generation import Finish, Generation, Piece, Usage
from conductor.domain.model import Category, ModelName
from conductor.serving.ports import Runner, RunnerFacts

FACTS = RunnerFacts(
    backend="scripted",
    device="cpu",
    precision=None,
    context_tokens=2000,
    memory_bytes=0,
    constrains=False,
    embeds=False,
    fills_in=True,
    model=ModelName("scripted"),
)


def tokens_in(text: str) -> int:
    """Four characters are a token."""
    return (len(text) + 3) // 4


class ScriptedRunner:
    """Says its answers one after the other, a few characters a piece.

    Args:
        endless: an answer goes on repeating until it is closed or reaches `max_tokens`.
    """

    def __init__(self, *answers: str, facts: RunnerFacts = FACTS, size: int = 3, endless: bool = False) -> None:
        self._answers = list(answers)
        self._facts = facts
        self._size = size
        self._endless = endless
        self.asked: list[Generation] = []
        self.counted = 0
        self.open = 0
        self.pieces_made = 0

    @property
    def facts(self) -> RunnerFacts:
        return self._facts

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        prompt_tokens = await self.count_tokens(asked)
        if prompt_tokens >= self._facts.context_tokens:
            raise InvalidInput("the prompt does not fit", field="prompt")
        if asked.suffix and not self._facts.fills_in:
            raise InvalidInput("this model does not fill in", field="suffix")
        self.asked.append(asked)
        text = self._answers.pop(0)
        limit = min(asked.sampling.max_tokens or 10**6, self._facts.context_tokens - prompt_tokens)
        if self._endless:
            text *= limit * 4 // len(text) + 2
        cut = min((at for stop in asked.sampling.stop if (at := text.find(stop)) >= 0), default=len(text))
        finish = Finish.STOP
        if cut > limit * 4:
            cut, finish = limit * 4, Finish.LENGTH
        self.open += 1
        try:
            for start in range(0, cut, self._size):
                self.pieces_made += 1
                yield Piece(text=text[start : min(start + self._size, cut)])
            yield Piece(
                finish=finish, usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=tokens_in(text[:cut]))
            )
        finally:
            self.open -= 1

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        raise InvalidInput("this model does not embed", field="input")

    async def count_tokens(self, asked: Generation) -> int:
        self.counted += 1
        messages = sum(4 + tokens_in(message.content) for message in asked.messages)
        return messages + tokens_in(asked.prompt + asked.suffix)

    async def close(self) -> None:
        pass


def without_filling_in(runner: ScriptedRunner) -> ScriptedRunner:
    runner._facts = replace(runner.facts, fills_in=False)
    return runner


class OneModelDesk:
    """Leases one runner to everybody."""

    def __init__(self, runner: ScriptedRunner) -> None:
        self.runner = runner
        self.leased = 0

    @asynccontextmanager
    async def lease(self, category: Category) -> AsyncIterator[Runner]:
        if category == "nobody's":
            raise NotFound("no model serves it")
        self.leased += 1
        try:
            yield self.runner
        finally:
            self.leased -= 1

    async def load(self, category: Category) -> None:
        pass

    async def unload(self, category: Category) -> None:
        pass
