"""MCP inside one's own program: an installation that is opened once and answers messages given as JSON text."""

import contextlib
from collections.abc import Mapping
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
        serving: what generates text, if anything does.
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

    async def initialize(self) -> None:
        """Open the installation; once more does nothing. Call it, `handle_mcp_request` and `close` in one event loop.

        Raises:
            Conflict: another process uses the folder; and whatever else `Conductor.open` raises.
        """
        if self._dispatcher is None:
            opening = Conductor.open(self._data_dir, settings=self._settings, environ=self._environ)
            conductor = await self._opened.enter_async_context(opening)
            self._dispatcher = Dispatcher(catalogue_of(conductor, self._serving))

    async def handle_mcp_request(self, request: str | bytes) -> str | None:
        """The answer to a message, both as JSON text; None for notifications.

        Requests of any revision are taken, `jsonrpc` may be left out, and no handshake is needed before.

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
        answer = await self._dispatcher.answer(message)
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
