"""What a client is told about its request while it is under way: how far it has come, and as log messages what happens.

Both are asked for by the client, request by request: progress by a token, log messages by a level. Here a tool's reports
become the protocol's notifications; who carries them is handed in, and nobody waits for it.

Source: revisions 2025-11-25 and 2026-07-28, Progress and Logging.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from conductor.app.tools.offered import Report, unheard
from conductor.faces.mcp.rpc import INVALID_PARAMS, Id, RpcError

#: Least severe first (RFC 5424).
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
#: In the stateless era, the level that a request wants; without it there are no log messages.
LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
#: So many notices wait for a client that reads slowly; of more the oldest are dropped.
_MOST_WAITING: Final = 64

Document = Mapping[str, Any]
#: Takes a notification to the client; must not block.
Tell = Callable[[Document], None]


def level_of(value: object) -> str:
    """A level of log messages.

    Raises:
        RpcError: there is none of this name.
    """
    if isinstance(value, str) and value in LEVELS:
        return value
    raise RpcError(INVALID_PARAMS, f"Invalid params: the level must be one of {', '.join(LEVELS)}")


def report_to(tell: Tell | None, params: Document, level: str | None) -> Report:
    """Where a request reports to.

    Args:
        params: of the request; `_meta` has what the client wants to hear.
        level: the level that holds where the request names none; None for no log messages.

    Raises:
        RpcError: token or level are none.
    """
    meta = params.get("_meta")
    meta = meta if isinstance(meta, Mapping) else {}
    token, wanted = meta.get("progressToken"), meta.get(LEVEL_KEY)
    if token is not None and (not isinstance(token, str | int) or isinstance(token, bool)):
        raise RpcError(INVALID_PARAMS, "Invalid params: _meta.progressToken must be text or a whole number")
    level = level if wanted is None else level_of(wanted)
    if tell is None or (token is None and level is None):
        return unheard
    return _Reporting(tell, token, level, str(params.get("name", ""))[:128])


class _Reporting:
    """The report of one request. A progress that has not grown is not sent: the protocol wants each to be more."""

    def __init__(self, tell: Tell, token: Id | None, level: str | None, logger: str) -> None:
        self._tell, self._token, self._logger = tell, token, logger
        self._lowest = len(LEVELS) if level is None else LEVELS.index(level)
        self._reached = -1.0

    def __call__(self, progress: float, message: str, *, total: float | None = None, detail: bool = False) -> None:
        if self._token is not None and progress > self._reached:
            self._reached = progress
            how_far: dict[str, Any] = {"progressToken": self._token, "progress": progress, "message": message}
            self._tell(notification("progress", how_far | ({} if total is None else {"total": total})))
        level = "debug" if detail else "info"
        if LEVELS.index(level) >= self._lowest:
            self._tell(notification("message", {"level": level, "logger": self._logger, "data": message}))


def notification(kind: str, params: Document) -> Document:
    """A notification of this kind."""
    return {"jsonrpc": "2.0", "method": f"notifications/{kind}", "params": params}


class Mailbox:
    """Notices between a request that makes them and a transport that carries them, a bounded number of them."""

    def __init__(self) -> None:
        self._waiting: deque[Document] = deque(maxlen=_MOST_WAITING)
        self._stirred = asyncio.Event()

    def put(self, notice: Document) -> None:
        """Put one in; see `Tell`."""
        self._waiting.append(notice)
        self._stirred.set()

    def stir(self, _cause: object = None) -> None:
        """Have `wait` return, notice or not."""
        self._stirred.set()

    async def wait(self, at_most_s: float) -> bool:
        """Wait until something is put in, or it is stirred; False if neither happened."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._stirred.wait()
        except TimeoutError:
            return False
        self._stirred.clear()
        return True

    def take(self) -> Document | None:
        """Take out the oldest; None if there is none."""
        return self._waiting.popleft() if self._waiting else None
