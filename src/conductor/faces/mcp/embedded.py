"""MCP inside one's own program: an installation that is opened once and answers messages given as JSON text."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conductor.app.conductor import Conductor
from conductor.app.tool_list import ServingDesk
from conductor.domain.errors import Conflict
from conductor.domain.json import JsonValue
from conductor.faces.mcp.catalogue import catalogue_of
from conductor.faces.mcp.protocol import Dispatcher
from conductor.faces.mcp.rpc import RpcError, read, write


class ConductorServer:
    """An installation inside this process, spoken to in MCP.

    Either `await server.initialize()` and later `await server.close()`, or `async with ConductorServer() as server`.

    Args:
        data_dir: its folder; the user's own by default.
        settings: values by dotted name that win over every other source.
        environ: environment variables to read settings from; none by default.
        serving: what generates text; by default the models of the installation's `SETTINGS.md`.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        settings: Mapping[str, JsonValue] | None = None,
        environ: Mapping[str, str] | None = None,
        serving: ServingDesk | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._environ = environ
        self._serving = serving
        self._opened = contextlib.AsyncExitStack()
        self._dispatcher: Dispatcher | None = None
        self._level: str | None = None

    async def initialize(self) -> None:
        """Open the installation; once more does nothing. Call it, `handle_mcp_request` and `close` in one event loop.

        Raises:
            Conflict: another process uses the folder; and whatever else `Conductor.open` raises.
        """
        if self._dispatcher is None:
            opening = Conductor.open(self._data_dir, settings=self._settings, environ=self._environ)
            conductor = await self._opened.enter_async_context(opening)
            self._dispatcher = Dispatcher(catalogue_of(conductor, self._serving or conductor.serving))

    async def handle_mcp_request(
        self, request: str | bytes, *, hear: Callable[[str], None] | None = None
    ) -> str | None:
        """The answer to a message, both as JSON text; None for notifications.

        Requests of any revision are taken, `jsonrpc` may be left out, and no handshake is needed before. To end a request
        that takes too long, cancel the task that awaits it.

        Args:
            hear: given the notifications that a request asks for (progress, log messages) while it is under way, as JSON
                text; returns at once.

        Raises:
            Conflict: `initialize` was not awaited.
        """
        if self._dispatcher is None:
            raise Conflict("the server is not open: `await server.initialize()` first")
        try:
            message: Any = read(request)
        except RpcError as error:
            return write(error.answer(None)).decode()
        if isinstance(message, dict):
            message.setdefault("jsonrpc", "2.0")
        tell = None if hear is None else lambda notice: hear(write(notice).decode())
        answer = await self._dispatcher.answer(message, tell=tell, level=self._level)
        if answer is not None and "result" in answer and message["method"] == "logging/setLevel":
            self._level = message["params"]["level"]
        return None if answer is None else write(answer).decode()

    async def close(self) -> None:
        """Close the installation; running tasks are given time to end."""
        self._dispatcher = None
        await self._opened.aclose()

    async def __aenter__(self) -> Self:
        """Open it."""
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()
