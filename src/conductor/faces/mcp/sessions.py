"""What is remembered of clients between two messages: next to nothing, and only of those that began with a handshake.

A session is a name that the client got at its handshake and sends along. It keeps the level of log messages that the client
set, and which of its requests are under way, so that `notifications/cancelled` finds them. A name that is not known, from
before a restart or forgotten among too many, is as good as any other: no session ever ends, so none has to be begun again.
"""

import asyncio
import secrets
from collections import OrderedDict
from typing import Any, Final

from conductor.faces.mcp.rpc import Id

_MOST_LEVELS: Final = 1024


class Sessions:
    """The sessions of one server; all calls in one event loop."""

    def __init__(self) -> None:
        self._levels: OrderedDict[str, str] = OrderedDict()
        self._under_way: dict[tuple[str, Id], asyncio.Future[Any]] = {}

    def __len__(self) -> int:
        """How many things are remembered."""
        return len(self._levels) + len(self._under_way)

    @staticmethod
    def new_name() -> str:
        """A name that nobody can guess."""
        return secrets.token_urlsafe(24)

    def level(self, session: str) -> str | None:
        """The level of log messages that this client set; None before it did."""
        return self._levels.get(session)

    def set_level(self, session: str, level: str) -> None:
        """Remember it; those that set theirs longest ago are forgotten when there are too many."""
        self._levels[session] = level
        self._levels.move_to_end(session)
        if len(self._levels) > _MOST_LEVELS:
            self._levels.popitem(last=False)

    def follow(self, session: str, request_id: Id, work: "asyncio.Future[Any]") -> None:
        """Remember that this is under way, until it is done. Of two with one id the later one can be cancelled."""
        key = (session, request_id)
        self._under_way[key] = work

        def forget(done: "asyncio.Future[Any]") -> None:
            if self._under_way.get(key) is done:
                del self._under_way[key]

        work.add_done_callback(forget)

    def cancel(self, session: str, request_id: Id) -> None:
        """End what is under way by this id, if anything is."""
        work = self._under_way.get((session, request_id))
        if work is not None:
            work.cancel()
