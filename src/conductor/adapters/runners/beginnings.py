"""Read ahead what requests begin with, so that the first one finds it in the cache: the engine process's part.

A beginning is some turns of a conversation, usually the system's. What all conversations that begin with it have in common
is found by writing two of them whose next turn differs, so that no chat template need be understood.
"""

from collections.abc import Callable, Sequence
from typing import Any

from conductor.domain.errors import ConductorError
from conductor.domain.generation import Generation, Message, Role
from conductor.serving.ports import Warmed

#: Told once what became of a beginning.
Tell = Callable[[Warmed | ConductorError], None]

#: What two users may begin with; no tokens in common.
_ONE, _OTHER = "0", "Which?"


def common_tokens(beginning: Sequence[Message], tokens_of: Callable[[Generation], Sequence[int]]) -> list[int]:
    """Tokens that every conversation with this beginning has first; errors as `tokens_of`."""
    one, other = (
        tokens_of(Generation(messages=(*beginning, Message(role=Role.USER, content=said)))) for said in (_ONE, _OTHER)
    )
    return list(one[: common_length(one, other)])


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How long both are the same."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


class Beginning:
    """A `batch.Text` that is read to its end, and not gone on with.

    Args:
        number: of the request.
        ended: called with None when it was read or set aside, or with the error that ended it.
    """

    def __init__(self, number: int, tokens: Sequence[int], *, ended: Callable[[ConductorError | None], None]) -> None:
        self.number = number
        self.tokens = list(tokens)
        self.cached_tokens: int | None = None
        self._ended = ended

    def add(self, scores: Any, likeliest: int) -> bool:
        """It is read; nothing is written."""
        self.end()
        return True

    def end(self) -> None:
        """It is read, or gave way."""
        self._ended(None)

    def fail(self, error: ConductorError) -> None:
        """It ends because of an error."""
        self._ended(error)
