"""A call under way: who answers it, and its parts as they come."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from conductor.app.serving.calls import CallDecision
from conductor.domain.generation import Piece
from conductor.serving.engine import Answer

PartT = TypeVar("PartT")


@dataclass(slots=True)
class Call(Generic[PartT]):
    """A call under way. Iterate `parts` and close them, always; nothing happens before the first is asked for.

    `decision` stands from the first part on: where an engine that was chosen by `auto` turns out to need more than it was
    given, a general one takes its place.
    """

    decision: CallDecision
    parts: AsyncGenerator[PartT, None]


async def whole(call: Call[Piece | Answer]) -> Answer:
    """The answer of an engine's call, waited for."""
    answer = None
    async with aclosing(call.parts) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                answer = part
    assert answer is not None, "a stream ends with its answer"
    return answer


async def nothing() -> AsyncGenerator[Any, None]:
    """The parts of a call that has none yet."""
    return
    yield
