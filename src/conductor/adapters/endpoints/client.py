"""The one pooled HTTP client for everything that runs elsewhere: connections, keys, bounds.

A key goes to the origin that it was set for and nowhere else: redirects are not followed, cookies not kept, and what an
endpoint answers is shown without it. Every wait has a limit, every body a bound; what goes wrong is told in the words of
`failures`. aiohttp is imported when the first request is made, because the server must start without it.

Not covered: proxies, certificates of one's own, endpoints that need more than a bearer key.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from conductor.adapters.endpoints.failures import EndpointError, parsed, reason, retry_after_s, told
from conductor.domain.errors import ConductorError, InvalidInput, Overloaded
from conductor.domain.json import JsonValue
from conductor.domain.redaction import MASK
from conductor.domain.units import KIB, MIB

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from conductor.adapters.endpoints.wire import Wire

MOST_ANSWER_BYTES: Final = 64 * MIB
#: Idle connections are given up before the usual 5 s of the servers (uvicorn, Node): they would close them under a request.
_KEEP_ALIVE_S: Final = 4.0
_READ_BUFFER: Final = 64 * KIB
_MOST_REFUSAL_BYTES: Final = 64 * KIB
#: How long the rest of a refusal is waited for.
_REFUSED_WITHIN_S: Final = 5.0
#: Statuses that say that the request itself is at fault.
_AT_FAULT: Final = frozenset({400, 413, 422})
_TOO_LARGE: Final = 413
_BUSY: Final = frozenset({429, 503})
#: Of a server that has too much to do and does not say for how long.
_USUAL_WAIT_S: Final = 0.5

Keys = Callable[[str], str | None]


class EndpointClient:
    """Connections to all endpoints; belongs to one event loop.

    Args:
        keys: the key for an origin (`http://host:port`), if it needs one.
        connect_s: longest wait for a connection.
        silence_s: longest wait for the next bytes of an answer; loading a model may come before the first.
        most_connections: to one host; further requests wait for a free one.
        reuses: whether connections are kept for the next request. A server that closes them when it likes may lose it.
    """

    def __init__(
        self,
        *,
        keys: Keys,
        connect_s: float = 5.0,
        silence_s: float = 300.0,
        most_connections: int = 512,
        reuses: bool = True,
    ) -> None:
        self._keys = keys
        self._connect_s, self._silence_s = connect_s, silence_s
        self._most = most_connections
        self._reuses = reuses
        self._session: ClientSession | None = None
        self._wire: Wire | None = None

    def wire(self) -> "Wire":
        """Connections for what is passed on as bytes, made on first use; only inside the event loop."""
        if self._wire is None:
            from conductor.adapters.endpoints.wire import Wire

            self._wire = Wire(connect_s=self._connect_s, silence_s=self._silence_s, most_connections=self._most)
        return self._wire

    def session(self) -> "ClientSession":
        """The connection pool, made on first use; only inside the event loop."""
        if self._session is None or self._session.closed:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=self._most, **self._keeping),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self._silence_s, sock_connect=self._connect_s, sock_read=self._silence_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    @property
    def _keeping(self) -> dict[str, Any]:
        return {"keepalive_timeout": _KEEP_ALIVE_S} if self._reuses else {"force_close": True}

    def authorization(self, origin: str) -> dict[str, str]:
        """The header that this origin's key is sent in; empty where it needs none."""
        key = self._keys(origin)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def without_key(self, origin: str, text: str) -> str:
        """The text with the origin's key masked: some endpoints repeat what they refuse."""
        key = self._keys(origin)
        return text.replace(key, MASK) if key else text

    @contextlib.asynccontextmanager
    async def answer(
        self, origin: str, method: str, url: str, document: Mapping[str, Any] | None = None
    ) -> AsyncIterator["ClientResponse"]:
        """One exchange; its body is read inside the block and dropped at its end, the connection with it if need be.

        Raises:
            EndpointError: it cannot be reached, falls silent or breaks off, also while the block reads.
        """
        with told(url):
            async with self.session().request(
                method, url, json=document, headers=self.authorization(origin) | _trace(), allow_redirects=False
            ) as response:
                yield response

    async def ask(
        self,
        origin: str,
        method: str,
        url: str,
        document: Mapping[str, Any] | None = None,
        *,
        within_s: float | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and whole body of one exchange.

        Raises:
            EndpointError: as `answer`; it took longer than `within_s`, or sends more than `most_bytes`.
        """
        try:
            async with asyncio.timeout(within_s), self.answer(origin, method, url, document) as response:
                return response.status, response.headers, await self._whole(response, url, most_bytes)
        except TimeoutError as late:
            raise EndpointError(f"{url} did not answer within {within_s:g} s; check it", again=True) from late

    async def document(
        self, origin: str, method: str, url: str, document: Mapping[str, Any] | None = None, *, within_s: float = 10.0
    ) -> JsonValue:
        """The JSON that a successful exchange gives.

        Raises:
            EndpointError: as `ask`; another status than 200, or no JSON.
        """
        status, _, body = await self.ask(origin, method, url, document, within_s=within_s)
        if status != 200:
            raise self.refusal(origin, url, status, body)
        return parsed(body, url)

    def said(self, origin: str, body: bytes) -> str:
        """What an error body says, without the origin's key."""
        return self.without_key(origin, reason(body))

    async def refused(self, origin: str, url: str, response: "ClientResponse") -> ConductorError:
        """What it is told as that a model's server does not take a request; reads what it says about it.

        Returns `InvalidInput` where the request is at fault, `Overloaded` where there is too much to do, else as `refusal`.
        """
        return self.refused_as(origin, url, response.status, response.headers, await _beginning(response))

    def refused_as(self, origin: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> ConductorError:
        """As `refused`, of an exchange that is over."""
        if status == _TOO_LARGE:
            said = self.said(origin, body)
            return InvalidInput(f"this is larger than {url} takes: {said}; send smaller pictures, or shorter texts")
        if status in _AT_FAULT:
            return InvalidInput(f"{url} refuses this: {self.said(origin, body)}")
        if status in _BUSY:
            wait_s = retry_after_s(headers)
            return Overloaded(
                f"{url} has too much to do: {self.said(origin, body)}",
                retry_after_s=_USUAL_WAIT_S if wait_s is None else wait_s,
            )
        return self.refusal(origin, url, status, body)

    def refusal(self, origin: str, url: str, status: int, body: bytes) -> EndpointError:
        """What an error status is told as."""
        said = self.said(origin, body)
        if status in (401, 403):
            what = f"refused the key ({status}: {said}); set the key of {origin} in the settings"
        elif 300 <= status < 400:
            what = f"points elsewhere (status {status}), and keys do not follow; use the address it points to"
        else:
            what = f"answered {status}: {said}"
        return EndpointError(f"{url} {what}", again=status >= 500 or status in (408, 429), status=status)

    async def close(self) -> None:
        """Close every connection; requests under way end with `EndpointError`."""
        if self._wire is not None:
            self._wire.close()
        if self._session is not None:
            await self._session.close()

    async def _whole(self, response: "ClientResponse", url: str, most_bytes: int) -> bytes:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > most_bytes:
                raise EndpointError(f"{url} sent more than {most_bytes:,} bytes; check what it is", again=False)
        return b"".join(pieces)


async def _beginning(response: "ClientResponse") -> bytes:
    """The first bytes of a refusal's body; what has come of it when time is over."""
    begun = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REFUSED_WITHIN_S):
            while len(begun) < _MOST_REFUSAL_BYTES and (piece := await response.content.readany()):
                begun += piece
    return begun


def _trace() -> dict[str, str]:
    """The trace that we work for now, as W3C Trace Context has it; empty outside of any."""
    bound = structlog.contextvars.get_contextvars()
    ids = bound.get("trace_id"), bound.get("span_id")
    return {"traceparent": f"00-{ids[0]}-{ids[1]}-01"} if all(ids) else {}
