"""The contract of an engine: what it asks of its category's model, and what it makes of the answer.

An engine does more than a prompt: it prepares the request (`ask`), and it checks, structures or repairs what was written
(`conclude`). Most engines are these two functions; one that needs several generations overrides `generate`. The model
itself is leased from the `ModelDesk`, which loads it when it has to; an engine never holds one.

A new engine is a subclass, named in the entry point group `conductor.engines`; nothing else changes.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.ports import Runner, RunnerFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a caller may say to every engine besides the prompt; engines add fields of their own.

    Args:
        sampling: None takes what suits the engine.
    """

    sampling: Sampling | None = None


OptionsT = TypeVar("OptionsT", bound=EngineOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine answers.

    Args:
        text: for people.
        facts: what it found out beyond the text, for programs: steps, a table, a parsed object. Plain JSON.
        notes: what could not be done or checked, a sentence each; empty when all is well.
        finish: how the last generation ended.
        usage: of all generations together.
    """

    text: str
    facts: JsonObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    finish: Finish = Finish.STOP
    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=0, completion_tokens=0))


class ModelDesk(Protocol):
    """Where engines get their models."""

    def lease(self, category: Category) -> AbstractAsyncContextManager[Runner]:
        """The category's model, loaded first if need be and not unloaded meanwhile.

        Raises:
            NotFound: no model serves the category.
            ModelError, Overloaded, Exhausted: it cannot be loaded now, or ever; the message says which.
        """
        ...

    async def load(self, category: Category) -> None:
        """Load the category's model ahead of its use; errors as `lease`."""
        ...

    async def unload(self, category: Category) -> None:
        """Give its memory back once nobody uses it."""
        ...


class Engine(ABC, Generic[OptionsT]):
    """One category's engine.

    Args:
        desk: gives it the model.
        persona: the conversational persona of `SETTINGS.md`; most engines leave it alone.
    """

    category: ClassVar[Category]
    #: For people: what it is good for, in a sentence.
    purpose: ClassVar[str]
    options_type: ClassVar[type[EngineOptions]] = EngineOptions
    #: What suits the work where the caller says nothing.
    sampling: ClassVar[Sampling] = Sampling()

    def __init__(self, desk: ModelDesk, *, persona: str = "") -> None:
        self.desk = desk
        self.persona = persona

    async def load(self) -> None:
        """Load the model ahead of its use; errors as `ModelDesk.lease`."""
        await self.desk.load(self.category)

    async def unload(self) -> None:
        """Give the model's memory back."""
        await self.desk.unload(self.category)

    @abstractmethod
    def system_prompt(self, options: OptionsT) -> str:
        """What the model is told about its role; empty tells nothing."""

    def ask(self, prompt: str, options: OptionsT, facts: RunnerFacts) -> Generation:
        """The request to the model; by default the role as the system's message and the prompt as the user's.

        Raises:
            InvalidInput: prompt or options make no sense for this engine; the field is named.
        """
        if not prompt.strip():
            raise InvalidInput("nothing is asked for; prompt needs some text", field="prompt")
        return Generation(
            messages=(
                Message(role=Role.SYSTEM, content=self.system_prompt(options)),
                Message(role=Role.USER, content=prompt),
            ),
            sampling=options.sampling or self.sampling,
        )

    def repeats(self, options: OptionsT) -> bool:
        """Whether the same request is answered the same again: nothing is drawn by chance, or known from before."""
        return (options.sampling or self.sampling).temperature == 0

    def forget(self) -> None:
        """Forget what it remembers of earlier answers, because a model or its files may be others now."""

    @abstractmethod
    def conclude(self, prompt: str, options: OptionsT, written: str) -> Answer:
        """Check and structure what was written; `finish` and `usage` are filled in by the caller."""

    async def generate(self, prompt: str, options: OptionsT) -> Answer:
        """Answer in one piece; errors as `ModelDesk.lease`, `Runner.generate` and `ask`."""
        answer: Answer | None = None
        async with aclosing(self.generate_stream(prompt, options)) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    answer = part
        assert answer is not None, "a stream ends with its answer"
        return answer

    async def generate_stream(self, prompt: str, options: OptionsT) -> AsyncGenerator[Piece | Answer, None]:
        """Pieces as they are written, and the answer at the end; closing it ends the generation."""
        async with self.desk.lease(self.category) as runner:
            asked = self.ask(prompt, options, runner.facts)
            written, last = [], Piece()
            async with aclosing(runner.generate(asked)) as pieces:
                async for piece in pieces:
                    written.append(piece.text)
                    last = piece
                    yield piece
        yield with_ending(self.conclude(prompt, options, "".join(written)), last)


def with_ending(answer: Answer, last: Piece) -> Answer:
    """The answer with how its generation ended and what it took."""
    return Answer(
        text=answer.text,
        facts=answer.facts,
        notes=answer.notes,
        finish=last.finish or Finish.STOP,
        usage=last.usage or answer.usage,
    )
