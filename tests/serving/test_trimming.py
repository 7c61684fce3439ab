import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Message, Role
from conductor.serving.texts.trimming import Trimmed, prompt_room, trimmed_conversation, trimmed_text

ROLES = st.sampled_from([Role.USER, Role.ASSISTANT, Role.TOOL])


async def letters(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content) + 1 for message in messages)


def trimmed(messages: list[Message], room: int) -> Trimmed:
    async def run() -> Trimmed:
        return await trimmed_conversation(messages, room_tokens=room, count=letters)

    return anyio.run(run)


@given(st.lists(st.tuples(ROLES, st.text(max_size=20)), max_size=30), st.integers(0, 200), st.booleans())
def test_what_is_kept_fits_and_is_the_longest_ending_that_begins_with_a_user(
    turns: list[tuple[Role, str]], room: int, with_system: bool
) -> None:
    system = [Message(role=Role.SYSTEM, content="be kind")] if with_system else []
    said = [Message(role=role, content=text) for role, text in turns]
    said.append(Message(role=Role.USER, content="last"))
    whole = [*system, *said]
    users = [at for at, message in enumerate(said) if message.role is Role.USER]
    starts = [0, *users[1:]]

    def cost(start: int) -> int:
        return sum(len(message.content) + 1 for message in [*system, *said[start:]])

    fitting = [start for start in starts if cost(start) <= room]
    if not fitting:
        with pytest.raises(InvalidInput, match="shorten the message"):
            trimmed(whole, room)
        return
    found = trimmed(whole, room)
    assert found.messages == (*system, *said[fitting[0] :])
    assert (found.dropped_messages, found.prompt_tokens) == (fitting[0], cost(fitting[0]))


@pytest.mark.parametrize("room", range(4, 44))
def test_not_one_turn_more_is_dropped_than_must_be(room: int) -> None:
    turns = [Message(role=Role.USER, content="abc")] * 10  # four tokens each
    assert trimmed(turns, room).dropped_turns == 10 - min(room // 4, 10)


def test_a_conversation_that_fits_is_counted_once() -> None:
    counts = 0

    async def count(messages: tuple[Message, ...]) -> int:
        nonlocal counts
        counts += 1
        return 1

    async def run() -> Trimmed:
        return await trimmed_conversation([Message(role=Role.USER, content="a")] * 500, room_tokens=10, count=count)

    assert anyio.run(run).dropped_turns == 0
    assert counts == 1


def test_an_answer_is_never_promised_more_than_half_of_the_context() -> None:
    assert [prompt_room(1000, None), prompt_room(1000, 100), prompt_room(1000, 10**9)] == [500, 900, 500]


@given(st.text(alphabet="ab\n", max_size=200), st.text(alphabet="cd\n", max_size=200), st.integers(1, 100))
def test_text_is_trimmed_to_whole_lines_at_the_cursor(prefix: str, suffix: str, room: int) -> None:
    async def count(before: str, after: str) -> int:
        return len(before) + len(after)

    async def run() -> tuple[str, str]:
        return await trimmed_text(prefix, suffix, room_tokens=room, count=count)

    try:
        before, after = anyio.run(run)
    except InvalidInput:
        assert len(prefix) + len(suffix) > room
        return
    assert len(before) + len(after) <= room
    assert prefix.endswith(before)
    assert suffix.startswith(after)
    assert before == prefix or not before or prefix[: len(prefix) - len(before)].endswith("\n")
    assert after == suffix or not after or after.endswith("\n")
