"""A model that writes what a test tells it, behind the real ports: whole characters, usage, limits and closing included."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Piece, Usage
from conductor.domain.model import Category, ModelName
from conductor.serving.engine import Answer, Engine, EngineOptions
from conductor.serving.ports import Runner, RunnerFacts

Writes = Callable[[Generation], str]


def said(asked: Generation) -> str:
    """All that a request holds."""
    return "\n".join((*(message.content for message in asked.messages), asked.prompt))


def user_said(asked: Generation) -> str:
    """The last message of the user."""
    return asked.messages[-1].content


class ToldModel:
    """A `Runner`; a token is four characters."""

    def __init__(
        self,
        writes: Writes | Sequence[str],
        *,
        context_tokens: int = 8192,
        constrains: bool = False,
        model: str = "told",
        translates: bool = False,
    ) -> None:
        self._writes = writes
        self.asked: list[Generation] = []
        self.closed_early = 0
        self._facts = RunnerFacts(
            backend="told", device="cpu", precision=None, context_tokens=context_tokens, memory_bytes=0,
            constrains=constrains, embeds=False, fills_in=False, model=ModelName(model),
            translates=translates,
        )  # fmt: skip

    @property
    def facts(self) -> RunnerFacts:
        return self._facts

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        read = await self.count_tokens(asked)
        if read > self._facts.context_tokens:
            raise InvalidInput(
                f"the prompt has {read} tokens, the context {self._facts.context_tokens}", field="prompt"
            )
        self.asked.append(asked)
        text = self._writes(asked) if callable(self._writes) else self._writes[len(self.asked) - 1]
        limit = asked.sampling.max_tokens
        finish = Finish.LENGTH if limit is not None and len(text) > 4 * limit else Finish.STOP
        text = text if finish is Finish.STOP else text[: 4 * (limit or 0)]
        written = 0
        try:
            for at in range(0, len(text), 4):
                written += 1
                yield Piece(text=text[at : at + 4])
            yield Piece(finish=finish, usage=Usage(prompt_tokens=read, completion_tokens=written))
        except GeneratorExit:
            self.closed_early += 1
            raise

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        raise InvalidInput("this model does not embed")

    async def count_tokens(self, asked: Generation) -> int:
        return -(-len(said(asked)) // 4)

    async def close(self) -> None:
        return None


class OneModelDesk:
    """A `ModelDesk` with one model for every category; counts what is leased and not given back."""

    def __init__(self, model: Runner) -> None:
        self._model = model
        self.leased = 0

    @asynccontextmanager
    async def lease(self, category: Category) -> AsyncIterator[Runner]:
        self.leased += 1
        try:
            yield self._model
        finally:
            self.leased -= 1

    async def load(self, category: Category) -> None:
        return None

    async def unload(self, category: Category) -> None:
        return None


async def streamed(engine: Engine[EngineOptions], prompt: str, options: EngineOptions) -> tuple[str, Answer, Piece]:
    """What a stream said, its answer, and its last piece."""
    parts = [part async for part in engine.generate_stream(prompt, options)]
    pieces = [part for part in parts if isinstance(part, Piece)]
    answer = parts[-1]
    assert isinstance(answer, Answer)
    return "".join(piece.text for piece in pieces), answer, pieces[-1]
