"""Have one model go on with a conversation or a text: what it can do, one answer or several, and why it refuses.

Everything is about one runner that was lent already; who it is was decided before.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from conductor.domain.errors import ConductorError, InvalidInput
from conductor.domain.generation import Generation, Piece
from conductor.serving.ports import Runner, RunnerFacts

_BUFFERED_PIECES: Final = 4


class ContextExceeded(InvalidInput):
    """Prompt, or prompt and answer together, are longer than the model's context."""

    code = "input.context"


class SeesNoPictures(InvalidInput):
    """The model turned out to take no pictures."""


async def one_answer(runner: Runner, asked: Generation) -> AsyncGenerator[tuple[int, Piece], None]:
    """One answer's pieces, in the form of several; errors as `Runner.generate`."""
    async with aclosing(runner.generate(asked)) as pieces:
        async for piece in pieces:
            yield 0, piece


async def side_by_side(runner: Runner, asked: Generation, answers: int) -> AsyncGenerator[tuple[int, Piece], None]:
    """Several answers at a time, each with a seed of its own where one is given; the first failure ends all of them."""
    row: asyncio.Queue[tuple[int, Piece | Exception | None]] = asyncio.Queue(answers * _BUFFERED_PIECES)

    async def write(number: int) -> None:
        seed = asked.sampling.seed
        own = asked if seed is None else replace(asked, sampling=replace(asked.sampling, seed=seed + number))
        try:
            async with aclosing(runner.generate(own)) as pieces:
                async for piece in pieces:
                    await row.put((number, piece))
        except Exception as failure:  # raised again where the row is read
            await row.put((number, failure))
        else:
            await row.put((number, None))

    writers = [asyncio.create_task(write(number)) for number in range(answers)]
    try:
        writing = answers
        while writing:
            number, part = await row.get()
            if isinstance(part, Exception):
                raise part
            if part is None:
                writing -= 1
            else:
                yield number, part
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)


def check_ability(asked: Generation, facts: RunnerFacts, title: str) -> None:
    """See that the model can do what is asked, as far as its facts tell.

    Args:
        title: how people call the model.

    Raises:
        ContextExceeded, InvalidInput: it cannot; names the field.
    """
    most, wanted = facts.context_tokens, asked.sampling.max_tokens
    if wanted is not None and most and wanted > most:
        raise ContextExceeded(
            f"max_tokens is {wanted}, but the context of {title} holds {most} tokens, prompt and answer together; "
            "ask for less",
            field="max_tokens",
            details={"context_tokens": most},
        )
    if asked.form is not None and not facts.constrains:
        raise InvalidInput(
            f"{title} cannot be held to a form here; ask for plain text, or have the category data_extraction do it",
            field="form",
        )
    seen = next((place for place, message in enumerate(asked.messages) if message.parts), None)
    if seen is not None and not facts.sees:
        raise SeesNoPictures(
            f"{title} sees no pictures; send text only, or name a model that sees", field=f"messages[{seen}].content"
        )
    if asked.suffix and not facts.fills_in:
        raise InvalidInput(f"{title} does not fill in; leave suffix out", field="suffix")


async def explained(refusal: InvalidInput, runner: Runner, asked: Generation) -> InvalidInput:
    """The refusal, with the numbers where it is about the length; counting happens only here, where it costs nobody."""
    if isinstance(refusal, ContextExceeded):
        return refusal
    try:
        tokens = await runner.count_tokens(asked)
    except ConductorError:
        return refusal
    most, wanted = runner.facts.context_tokens, asked.sampling.max_tokens
    if not most or tokens + (1 if wanted is None else wanted) <= most:
        return refusal
    answer = "" if wanted is None else f" and max_tokens asks for {wanted} more"
    return ContextExceeded(
        f"the prompt has {tokens} tokens{answer}, but the model's context holds {most} tokens, prompt and answer together; "
        "shorten the prompt, or ask for less",
        field="messages" if asked.messages else "prompt",
        details={"prompt_tokens": tokens, "context_tokens": most},
    )
