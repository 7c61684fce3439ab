"""Hand messages on to a Conductor server: to the one that runs, or to one that lives as long as this process.

The server does the work and other commands find it as usual; this process only carries messages, so that several desktop
assistants share one installation. The own server is the same program as every other; it ends when the pipe to it closes.
A server that ends meanwhile is replaced by whichever there is then.
"""

import asyncio
import contextlib
import http.client
import os
import sys
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from conductor.app.installation import Installation
from conductor.domain.errors import ConductorError
from conductor.faces.mcp.exchange import Answered, Hear, post
from conductor.faces.mcp.headers import SESSION, headers_for
from conductor.faces.mcp.rpc import INTERNAL_ERROR, RpcError, read

_READY_WITHIN_S: Final = 60.0
_ANSWER_WITHIN_S: Final = 900.0
#: What has no answer before its client ends it.
_STAYS_OPEN: Final = "subscriptions/listen"
_ENDED_WITHIN_S: Final = 60.0
_ASK_AGAIN_S: Final = 0.1
_SERVER: Final = (sys.executable, "-m", "conductor.faces.http")


class Relay:
    """Carries messages to the server of an installation.

    Args:
        program: what is started where no server runs.
    """

    def __init__(self, installation: Installation, *, program: Sequence[str] = _SERVER) -> None:
        self._installation = installation
        self._program = program
        self._own: asyncio.subprocess.Process | None = None
        self._url = ""
        self._session = ""
        self._finding = asyncio.Lock()

    async def answer(self, message: Any, raw: bytes, hear: Hear) -> bytes | None:
        """The server's answer to a message; `hear` is given what comes before it. See `stdio.Answerer`.

        Raises:
            RpcError: there is no server and none can be started, or it does not answer as one.
        """
        headers = self._headers(message)
        for attempt in (1, 2):
            url = await self._find()
            try:
                async with asyncio.timeout(None if _method(message) == _STAYS_OPEN else _ANSWER_WITHIN_S):
                    answered = await post(f"{url}/mcp", headers | self._authorization(), raw, hear)
                self._session = answered.session or self._session
                return _checked(answered)
            except ConnectionRefusedError:  # it has ended since: nothing was done there, and asking another is safe
                self._url = ""
                if attempt == 2:
                    raise RpcError(INTERNAL_ERROR, f"no server answers at {url}") from None
            except TimeoutError:  # before its parent, OSError
                raise RpcError(INTERNAL_ERROR, f"no answer from {url} within {_ANSWER_WITHIN_S:.0f} s") from None
            except (OSError, EOFError, http.client.HTTPException):
                self._url = ""
                raise RpcError(
                    INTERNAL_ERROR,
                    f"the server at {url} ended the connection; accepted tasks are kept, and go on at its next start",
                ) from None
        raise AssertionError("unreachable: the second attempt returns or raises")

    def _headers(self, message: Any) -> dict[str, str]:
        """The headers that belong to a message; in the handshake era, the session that this process speaks for."""
        found = headers_for(message)
        if self._session and not found and _method(message) != "initialize":
            return {SESSION: self._session}
        return found

    def _authorization(self) -> dict[str, str]:
        """The key of the installation as it is now; it may be another with each server."""
        try:
            key = self._installation.read_key()
        except ConductorError as error:  # others could read it, or it cannot be read
            raise RpcError.of(error) from None
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    async def close(self) -> None:
        """End the own server, if there is one."""
        own, self._own = self._own, None
        if own is None or own.stdin is None:
            return
        own.stdin.close()
        try:
            async with asyncio.timeout(_ENDED_WITHIN_S):
                await own.wait()
        except TimeoutError:
            own.kill()
            await own.wait()

    async def _find(self) -> str:
        async with self._finding:
            if not self._url:
                try:
                    self._url = await self._running() or await self._begin()
                except ConductorError as error:
                    raise RpcError.of(error) from None
            return self._url

    async def _running(self) -> str | None:
        """Where the server listens; one that is starting or ending is waited for."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _READY_WITHIN_S
        while server := self._installation.running_server():
            if server.url is not None and await _listens(server.url):
                return server.url
            if loop.time() > until_s:
                raise RpcError(
                    INTERNAL_ERROR,
                    f"the process {server.pid} uses {self._installation.data_dir} and serves nobody; stop it, or choose "
                    "another folder with --data-dir",
                )
            await asyncio.sleep(_ASK_AGAIN_S)
        return None

    async def _begin(self) -> str:
        await self.close()
        command = [*self._program, *self._installation.arguments(), "--embedded"]
        log = _log(self._installation)
        try:
            self._own = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        finally:
            if log is not None:
                os.close(log)
        assert self._own.stdout is not None
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_S):
                said = await self._own.stdout.readline()
        url = said.decode("utf-8", "replace").strip()
        if not url:
            await self.close()
            raise RpcError(
                INTERNAL_ERROR,
                f"the server did not start; {self._installation.paths.server_log} says why, and so does `conductor serve`",
            )
        return url


def _log(installation: Installation) -> int | None:
    """Where the own server writes; None, our own standard error, where its folder cannot be written."""
    path = installation.paths.server_log
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


async def _listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
    except OSError:
        return False
    writer.close()
    return True


def _method(message: Any) -> object:
    return message.get("method") if isinstance(message, dict) else None


def _checked(answered: Answered) -> bytes | None:
    """The server's message as one line; what is none is told as an error."""
    status, body = answered.status, answered.body
    if status == 202:
        return None
    try:
        found = read(body)
    except RpcError:
        found = None
    if isinstance(found, dict) and "jsonrpc" in found:
        if "id" in found and b"\n" not in body:
            return body
        error = found.get("error", {})  # one that answers no request in particular, as a gate's: it answers this one
        raise RpcError(error.get("code", INTERNAL_ERROR), str(error.get("message", "")), error.get("data"))
    said = found.get("detail") if isinstance(found, dict) else None
    if status == 404:
        said = "this server offers no MCP; start a newer one"
    raise RpcError(INTERNAL_ERROR, f"the server answered with status {status}: {said or 'no message'}")
