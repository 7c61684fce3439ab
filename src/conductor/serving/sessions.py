"""Remember conversations between requests, bounded in number, length and age.

In memory only: a restart forgets. A session belongs to whoever began it; for everyone else it does not exist. Who the
owner is, is the caller's knowledge. Clock and identifiers are handed in.

Covered: two answers at a time in one session (each sees what was finished before it began; both are kept, whole).
Not covered: sessions shared between servers.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.generation import Message

_LONGEST_ID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBounds:
    """How much is remembered; what is over a bound goes, oldest first.

    Args:
        sessions: of all owners together.
        sessions_each: of one owner, so that nobody pushes out everyone else's.
        turns: question and answer are one turn.
        characters: of one session.
        idle_s: a session that was not used for so long is forgotten.
    """

    sessions: int = 1000
    sessions_each: int = 100
    turns: int = 200
    characters: int = 400_000
    idle_s: float = 24 * 3600.0


@dataclass(slots=True)
class _Session:
    used_at_s: float
    turns: list[tuple[Message, ...]] = field(default_factory=list)
    forgotten_turns: int = 0

    @property
    def characters(self) -> int:
        return sum(len(message.content) for turn in self.turns for message in turn)


class Sessions:
    """The conversations that are remembered now.

    Args:
        new_id: gives an identifier that was never given before and cannot be guessed.
    """

    def __init__(self, *, clock: Clock, new_id: Callable[[], str], bounds: SessionBounds | None = None) -> None:
        self._clock = clock
        self._new_id = new_id
        self._bounds = bounds or SessionBounds()
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        self._forget_idle()
        return len(self._sessions)

    def begin(self, owner: str) -> str:
        """A new, empty session; the least recently used ones give way."""
        self._forget_idle()
        mine = [key for key in self._sessions if key[0] == owner]
        for key in mine[: max(len(mine) - self._bounds.sessions_each + 1, 0)]:
            del self._sessions[key]
        while len(self._sessions) >= self._bounds.sessions:
            self._sessions.popitem(last=False)
        session_id = self._new_id()
        self._sessions[owner, session_id] = _Session(used_at_s=self._clock.monotonic_s())
        return session_id

    def history(self, owner: str, session_id: str) -> tuple[Message, ...]:
        """What was said so far, oldest first.

        Raises:
            NotFound: there is no such session of this owner, or it was forgotten.
        """
        return tuple(message for turn in self._used(owner, session_id).turns for message in turn)

    def forgotten_turns(self, owner: str, session_id: str) -> int:
        """Turns that went because the session became too long; errors as `history`."""
        return self._used(owner, session_id).forgotten_turns

    def add(self, owner: str, session_id: str, turn: tuple[Message, ...]) -> None:
        """Keep one finished turn. A session that was forgotten meanwhile stays forgotten."""
        session = self._sessions.get((owner, session_id))
        if session is None:
            return
        session.used_at_s = self._clock.monotonic_s()
        self._sessions.move_to_end((owner, session_id))
        session.turns.append(turn)
        while len(session.turns) > self._bounds.turns or session.characters > self._bounds.characters:
            session.turns.pop(0)
            session.forgotten_turns += 1

    def end(self, owner: str, session_id: str) -> None:
        """Forget a session at once; errors as `history`."""
        self._used(owner, session_id)
        del self._sessions[owner, session_id]

    def _used(self, owner: str, session_id: str) -> _Session:
        if len(session_id) > _LONGEST_ID:
            raise InvalidInput(f"a session's id has at most {_LONGEST_ID} characters", field="session_id")
        self._forget_idle()
        session = self._sessions.get((owner, session_id))
        if session is None:
            raise NotFound(
                f"there is no session {session_id!r}, or it was forgotten (after {self._bounds.idle_s / 3600:g} h without "
                "use, or with a restart); ask without session_id to begin a new one",
                field="session_id",
            )
        session.used_at_s = self._clock.monotonic_s()
        self._sessions.move_to_end((owner, session_id))
        return session

    def _forget_idle(self) -> None:
        oldest_s = self._clock.monotonic_s() - self._bounds.idle_s
        while self._sessions and next(iter(self._sessions.values())).used_at_s < oldest_s:
            self._sessions.popitem(last=False)
