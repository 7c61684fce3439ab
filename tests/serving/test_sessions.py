from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.generation import Message, Role
from conductor.serving.sessions import SessionBounds, Sessions


class HandClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def now_unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


def sessions(clock: HandClock | None = None, **bounds: int | float) -> Sessions:
    numbers = count(1)
    return Sessions(
        clock=clock or HandClock(),
        new_id=lambda: f"s{next(numbers)}",
        bounds=SessionBounds(**bounds),  # type: ignore[arg-type]
    )


def turn(text: str) -> tuple[Message, ...]:
    return (Message(role=Role.USER, content=text), Message(role=Role.ASSISTANT, content=text.upper()))


def test_a_session_remembers_its_turns_in_order() -> None:
    held = sessions()
    one = held.begin("ann")
    held.add("ann", one, turn("a"))
    held.add("ann", one, turn("b"))
    assert [message.content for message in held.history("ann", one)] == ["a", "A", "b", "B"]


def test_another_owner_cannot_see_that_a_session_exists() -> None:
    held = sessions()
    one = held.begin("ann")
    with pytest.raises(NotFound) as strange:
        held.history("bob", one)
    with pytest.raises(NotFound) as absent:
        held.history("bob", "s99")
    assert strange.value.message.replace("s1", "s99") == absent.value.message


def test_an_unused_session_is_forgotten_and_a_used_one_is_not() -> None:
    clock = HandClock()
    held = sessions(clock, idle_s=60)
    used, unused = held.begin("ann"), held.begin("ann")
    clock.now_s += 40
    held.history("ann", used)
    clock.now_s += 40
    assert held.history("ann", used) == ()
    with pytest.raises(NotFound):
        held.history("ann", unused)
    assert len(held) == 1


def test_one_owner_cannot_push_out_the_sessions_of_another() -> None:
    held = sessions(sessions=5, sessions_each=2)
    of_ann = held.begin("ann")
    for _ in range(20):
        held.begin("bob")
    assert held.history("ann", of_ann) == ()
    assert len(held) == 3


def test_a_turn_for_a_forgotten_session_is_dropped_quietly() -> None:
    held = sessions()
    held.add("ann", "s99", turn("a"))
    assert len(held) == 0


def test_an_overlong_id_is_refused() -> None:
    with pytest.raises(InvalidInput):
        sessions().history("ann", "x" * 1000)


@given(st.lists(st.text(max_size=30), max_size=40))
def test_a_session_keeps_within_its_bounds_and_keeps_the_newest(texts: list[str]) -> None:
    held = sessions(turns=5, characters=60)
    one = held.begin("ann")
    for text in texts:
        held.add("ann", one, turn(text))
    history = held.history("ann", one)
    kept = len(history) // 2
    assert kept <= 5
    assert sum(len(message.content) for message in history) <= 60
    assert [message.content for message in history[::2]] == texts[len(texts) - kept :]
    assert held.forgotten_turns("ann", one) == len(texts) - kept
