"""Decide what of a conversation or a text is left out, so that prompt and answer fit a model's context together.

Counting tokens is the model's business and is handed in. Of a conversation the oldest turns go, a user's turn always
together with all that answered it; system messages and everything from the last user turn on stay. Of a text to be
continued whole lines go: from the beginning before the cursor, from the end after it.

Covered: contexts too small even for what must stay (an error with the numbers). Not covered: cutting inside a message.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Message, Role

#: Tokens of an answer that are kept free where the caller names no length.
USUAL_ANSWER_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What is left of a conversation.

    Args:
        messages: what is sent.
        dropped_messages: how many were left out, and in how many turns of the user with what answered them.
        prompt_tokens: of what is sent.
    """

    messages: tuple[Message, ...]
    dropped_messages: int
    dropped_turns: int
    prompt_tokens: int


def prompt_room(context_tokens: int, max_tokens: int | None) -> int:
    """Tokens that a prompt may have: the context less the answer, which is never promised more than half of it."""
    wanted = USUAL_ANSWER_TOKENS if max_tokens is None else max_tokens
    return context_tokens - min(wanted, context_tokens // 2)


async def trimmed_conversation(
    messages: Sequence[Message], *, room_tokens: int, count: Callable[[tuple[Message, ...]], Awaitable[int]]
) -> Trimmed:
    """Leave out as few of the oldest turns as it takes; counts tokens about log2(turns) times.

    Raises:
        InvalidInput: even without all that may go it does not fit.
    """
    system = tuple(message for message in messages if message.role is Role.SYSTEM)
    turns = _turns([message for message in messages if message.role is not Role.SYSTEM])

    def without(dropped: int) -> tuple[Message, ...]:
        return system + tuple(message for turn in turns[dropped:] for message in turn)

    fewest, tokens = 0, await count(without(0))
    if tokens > room_tokens:
        low, fewest = 0, max(len(turns) - 1, 0)  # `low` is known not to fit
        tokens = await count(without(fewest))
        if tokens > room_tokens:
            raise InvalidInput(
                f"the last message and the system message have {tokens} tokens together, but the model's context leaves "
                f"{room_tokens} for them; shorten the message, or lower max_tokens",
                field="prompt",
                details={"prompt_tokens": tokens, "room_tokens": room_tokens},
            )
        while fewest - low > 1:
            middle = (low + fewest) // 2
            found = await count(without(middle))
            if found > room_tokens:
                low = middle
            else:
                fewest, tokens = middle, found
    return Trimmed(
        messages=without(fewest),
        dropped_messages=sum(len(turn) for turn in turns[:fewest]),
        dropped_turns=fewest,
        prompt_tokens=tokens,
    )


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Each begins with a user's message; what comes before the first belongs to it."""
    turns: list[list[Message]] = []
    user_spoke = False
    for message in messages:
        if not turns or (message.role is Role.USER and user_spoke):
            turns.append([])
        user_spoke = user_spoke or message.role is Role.USER
        turns[-1].append(message)
    return turns


async def trimmed_text(
    prefix: str, suffix: str, *, room_tokens: int, count: Callable[[str, str], Awaitable[int]]
) -> tuple[str, str]:
    """The lines nearest to the cursor that fit, three quarters of the kept lines before it where both sides are long.

    Raises:
        InvalidInput: not even the line of the cursor fits.
    """
    if await count(prefix, suffix) <= room_tokens:
        return prefix, suffix
    before, after = prefix.splitlines(keepends=True), suffix.splitlines(keepends=True)

    def nearest(lines: int) -> tuple[str, str]:
        ahead = min(len(after), lines // 4)
        behind = min(len(before), lines - ahead)
        return "".join(before[len(before) - behind :]), "".join(after[: lines - behind])

    fits, too_many = 0, len(before) + len(after)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if await count(*nearest(middle)) <= room_tokens:
            fits = middle
        else:
            too_many = middle
    if fits == 0:
        raise InvalidInput(
            f"the line at the cursor alone is longer than the {room_tokens} tokens that the model's context leaves for the "
            "prompt; send less of it, or lower max_tokens",
            field="prompt",
        )
    return nearest(fits)
