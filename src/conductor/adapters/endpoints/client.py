"""The one pooled HTTP client for everything that runs elsewhere: connections, keys, bounds, and foreign errors in our words.

A key goes to the origin that it was set for and nowhere else: redirects are not followed, cookies not kept, and what an
endpoint answers is shown without it. Every wait has a limit, every body a bound. aiohttp is imported when the first request
is made, because the server must start without it.

Not covered: proxies, certificates of one's own, endpoints that need more than a bearer key.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from conductor.domain.errors import ModelError
from conductor.domain.json import JsonValue
from conductor.domain.redaction import MASK
from conductor.domain.units import KIB, MIB

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from conductor.adapters.endpoints.wire import Wire

MOST_ANSWER_BYTES: Final = 64 * MIB
#: Bytes of a refusal that are read and shown.
_SHOWN: Final = 400
#: Idle connections are given up before the usual 5 s of the servers (uvicorn, Node): they would close them under a request.
_KEEP_ALIVE_S: Final = 4.0
_READ_BUFFER: Final = 64 * KIB

Keys = Callable[[str], str | None]


class EndpointError(ModelError):
    """A model elsewhere does not answer as it should; `details` holds `again` (asking again may help) and the status."""

    code = "model.endpoint"

    def __init__(self, message: str, *, again: bool, status: int | None = None, field: str | None = None) -> None:
        self.again, self.status = again, status
        super().__init__(message, field=field, details={"again": again, "status": status})


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

    def refusal(self, origin: str, url: str, status: int, body: bytes) -> EndpointError:
        """What an error status is told as."""
        said = self.without_key(origin, reason(body))
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


def _trace() -> dict[str, str]:
    """The trace that we work for now, as W3C Trace Context has it; empty outside of any."""
    bound = structlog.contextvars.get_contextvars()
    ids = bound.get("trace_id"), bound.get("span_id")
    return {"traceparent": f"00-{ids[0]}-{ids[1]}-01"} if all(ids) else {}


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """Tell every failure of a connection in our words."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientConnectorError as unreachable:
        why = unreachable.os_error.strerror or type(unreachable.os_error).__name__
        raise EndpointError(f"{url} cannot be reached ({why}); check that it runs", again=True) from unreachable
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionError) as broken:
        raise EndpointError(f"{url} broke off in the middle of its answer; ask again", again=True) from broken
    except aiohttp.ServerTimeoutError as silent:
        raise EndpointError(f"{url} fell silent; check whether it is overloaded", again=True) from silent
    except aiohttp.ClientResponseError as garbled:
        raise EndpointError(
            f"{url} does not speak HTTP as it should ({garbled.message.splitlines()[0][:_SHOWN]}); check the address",
            again=False,
        ) from garbled
    except (aiohttp.ClientError, ValueError) as wrong:
        raise EndpointError(
            f"{url} cannot be asked ({type(wrong).__name__}); check the address", again=False
        ) from wrong


def parsed(body: bytes | str, url: str) -> JsonValue:
    """JSON from outside.

    Raises:
        EndpointError: it is none.
    """
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise EndpointError(f"{url} answered something that is no JSON; check the address", again=False) from wrong
    return value


def reason(body: bytes) -> str:
    """What an error body says: OpenAI's object, Ollama's text, or its beginning."""
    try:
        told_: Any = json.loads(body)
        told_ = told_.get("error", told_.get("detail", told_.get("message"))) if isinstance(told_, dict) else told_
        told_ = told_.get("message") if isinstance(told_, dict) else told_
    except (ValueError, RecursionError):
        told_ = None
    text = told_ if isinstance(told_, str) else body.decode("utf-8", "replace")
    return " ".join(text[:_SHOWN].split()) or "without a word"


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long an endpoint asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3)."""
    told_ = headers.get("Retry-After", "").strip()
    if not told_:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(told_)
        return seconds if 0 <= seconds < float("inf") else None
    try:
        until = parsedate_to_datetime(told_)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
