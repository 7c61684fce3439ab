"""Test equipment: a desk whose models write what they are told to, by the port's rules, and count what is held of them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from conductor.domain.errors import InvalidInput, ModelError, NotFound
from conductor.domain.generation import Finish, Generation, Piece, TokenScore, ToolCall, Usage
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.ports import Runner, RunnerFacts
from conductor.serving.settings_md.table import ModelTable

CONTEXT_TOKENS = 200
CHAT_NAME = "tests/chat-1b"


def row(category: str, name: str, title: str) -> ServedModel:
    return ServedModel(
        category=Category(category),
        title=title,
        name=ModelName(name),
        memory_bytes=None,
        stay_loaded=False,
        precision=Precision.FP16,
    )


ROWS = (
    row("conversational_chat", CHAT_NAME, "Chat 1B"),
    row("general_reasoning", "tests/reasoner", "Reasoner"),
    row("translation", "tests/translator", "Übersetzer"),
    row("code_completion", "tests/coder", "Coder"),
    row("embeddings", "tests/embedder", "Embedder"),
)


@dataclass
class Table:
    """The model table, as it is in force."""

    table: ModelTable = field(default_factory=lambda: ModelTable(rows=ROWS))

    @property
    def digest(self) -> str:
        return self.table.digest


@dataclass
class Script:
    """What models write. `words` come one a piece; `wait_after` words they wait until they are closed.

    `fail_after` so many words they fail, and before their first word as often as `stumbles` says. `thoughts` come first."""

    words: tuple[str, ...] = ("Hello", ", ", "world", "!")
    thoughts: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    wait_after: int | None = None
    fail_after: int | None = None
    stumbles: int = 0
    constrains: bool = True
    sees: bool = False
    asked: list[Generation] = field(default_factory=list)
    writing: int = 0
    leases: int = 0
    written: int = 0


class ScriptedRunner:
    """One model. A token is a word of the prompt; answers end as `max_tokens` and `stop` say."""

    def __init__(self, script: Script, category: Category) -> None:
        self._script = script
        self._category = category

    @property
    def facts(self) -> RunnerFacts:
        return RunnerFacts(
            backend="scripted",
            device="cpu",
            precision=None,
            context_tokens=CONTEXT_TOKENS,
            memory_bytes=1000,
            constrains=self._script.constrains,
            embeds=self._category == "embeddings",
            fills_in=self._category == "code_completion",
            model=ModelName("scripted"),
            sees=self._script.sees,
        )

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        script = self._script
        script.asked.append(asked)
        prompt_tokens = await self.count_tokens(asked)
        if prompt_tokens + 1 > CONTEXT_TOKENS:
            raise InvalidInput("the prompt is too long", field="prompt")
        if script.stumbles:
            script.stumbles -= 1
            raise ModelError("out of breath; ask again")
        script.writing += 1
        try:
            count, finish = 0, Finish.STOP
            for thought in script.thoughts:
                yield Piece(reasoning=thought)
            for word in self._words(asked):
                if script.fail_after == count:
                    raise ModelError("the model's process is gone; ask again")
                if script.wait_after == count:
                    await asyncio.Event().wait()
                if asked.sampling.max_tokens == count:
                    finish = Finish.LENGTH
                    break
                if word in asked.sampling.stop:
                    break
                await asyncio.sleep(0)
                script.written += 1
                count += 1
                yield Piece(text=word, scores=_scores(word, asked.sampling.top_scores))
            if script.tool_calls and asked.tools:
                yield Piece(tool_calls=script.tool_calls)
                finish = Finish.TOOL_CALLS
            thought = len(script.thoughts)
            usage = Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=count + thought,
                cached_tokens=1,
                reasoning_tokens=thought,
            )
            yield Piece(finish=finish, usage=usage)
        finally:
            script.writing -= 1

    def _words(self, asked: Generation) -> tuple[str, ...]:
        if asked.form is not None:
            return ('{"na', 'me":', '"Ada"}')
        if asked.sampling.seed is not None:
            return (f"seed {asked.sampling.seed}",)
        return self._script.words

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        vectors = [[1.0, 0.0, -0.25] if len(text) % 2 else [0.0, 1.0, 0.5] for text in texts]
        return vectors, Usage(prompt_tokens=sum(len(text.split()) for text in texts), completion_tokens=0)

    async def count_tokens(self, asked: Generation) -> int:
        return len(asked.prompt.split()) + sum(len(message.content.split()) for message in asked.messages)

    async def close(self) -> None:
        pass


class ScriptedDesk:
    """Every category of the table has its model; `leases` counts what is out."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @asynccontextmanager
    async def lease(self, category: Category) -> AsyncIterator[Runner]:
        self._script.leases += 1
        try:
            yield ScriptedRunner(self._script, category)
        finally:
            self._script.leases -= 1

    async def load(self, category: Category) -> None:
        if category == "translation":
            raise NotFound("there is no such file; download it", field="model")

    async def unload(self, category: Category) -> None:
        pass


class KeywordReader:
    """Reads a category where the request names one of these words."""

    async def categories(self, text: str) -> dict[Category, float]:
        words = {"translate": "translation", "complete": "code_completion", "why": "general_reasoning"}
        return {Category(category): 0.9 for word, category in words.items() if word in text.casefold()}


def _scores(word: str, top: int | None) -> tuple[TokenScore, ...]:
    if top is None:
        return ()
    return (
        TokenScore(word, -0.5, tuple((json.dumps(place), float("-inf") if place else -0.5) for place in range(top))),
    )
