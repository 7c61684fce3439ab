"""Pass a request on to an upstream and its answer back, byte by byte: the hot path of the gateway.

The body goes out as it came, except for the value of `model`, which is replaced in place where the upstream knows the model
by another name. The answer's chunks are handed on as they come and nothing is kept of them but the last few KiB, from which
`usage` is read when all is over: tokens are never parsed. Whoever closes the block early (the client left) closes the
connection, which ends the work upstream.

Which upstream, who may, and how often again is not decided here. Not covered: compressed bodies (none are asked for).
"""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from conductor.adapters.endpoints.client import EndpointClient, EndpointError, told
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Usage
from conductor.domain.units import KIB

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from yarl import URL

#: The last event of a stream, or the end of a document, in which `usage` stands.
_TAIL_BYTES: Final = 4 * KIB
_MODEL: Final = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_PROMPT: Final = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})')
_WRITTEN: Final = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,12})')
_CACHED: Final = re.compile(rb'"cached_tokens"\s*:\s*(\d{1,12})')
#: Of one connection only (RFC 9110, 7.6.1), or nobody's business behind the gateway.
_NOT_PASSED_BACK: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade", b"set-cookie", b"server", b"date", b"alt-svc", b"strict-transport-security"}
    | {b"traceparent", b"access-control-allow-origin", b"www-authenticate"}
)
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]')
_QUOTE: Final = ord('"')
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What had to be known of a request's body.

    Args:
        model: as the client named it.
        value: first and last position of the JSON text of that name in the body.
        streams: whether the answer is to be a stream.
    """

    model: str
    value: tuple[int, int]
    streams: bool


def read_asked(body: bytes) -> Asked:
    """Check that a body is a JSON object that names one model, and where.

    orjson finds out in a few microseconds what no search through text could tell for sure: that `model` is at the top and
    not inside a message. A body in which the name is written in a way that two parsers might read differently is refused.

    Raises:
        InvalidInput: it is no JSON object, names no model, or names it in more than one place.
    """
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as wrong:
        raise InvalidInput(f"the body is no JSON: {wrong}") from wrong
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object")
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidInput("name a model; GET /v1/models lists them", field="model")
    return Asked(model=model, value=_place(body, model), streams=document.get("stream") is True)


def _place(body: bytes, model: str) -> tuple[int, int]:
    """Where the value of the top-level `model` stands."""
    places = [match.span(1) for match in _MODEL.finditer(body)]
    if len(places) > 1:
        at_top = _starts_at_top(body, frozenset(start for start, _ in places))
        places = [span for span in places if span[0] in at_top]
    if len(places) != 1 or orjson.loads(body[slice(*places[0])]) != model:
        raise InvalidInput('the body must name its model once, as "model"', field="model")
    return places[0]


def _starts_at_top(body: bytes, candidates: frozenset[int]) -> set[int]:
    """Which of these texts in valid JSON stand directly inside the outermost object; one walk along its structure."""
    depth, found = 0, set()
    for token in _STRUCTURE.finditer(body):
        start = token.start()
        first = body[start]
        if first == _QUOTE:
            if depth == 1 and start in candidates:
                found.add(start)
        else:
            depth += 1 if first in b"{[" else -1
    return found


def with_model(body: bytes, asked: Asked, name: str) -> bytes:
    """The same bytes with another model's name in the place of the old one."""
    if name == asked.model:
        return body
    start, end = asked.value
    return b"%b%b%b" % (body[:start], orjson.dumps(name), body[end:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a relayed request goes.

    Args:
        origin: whose key is sent.
        base: up to and including `/v1`.
        model: the model's name there.
    """

    origin: str
    base: str
    model: str
    _urls: "dict[str, URL]" = field(default_factory=dict, compare=False, repr=False)

    def url(self, path: str) -> "URL":
        """The parsed address of a path below the base; parsed once, for it costs more than the rest of the way."""
        found = self._urls.get(path)
        if found is None:
            from yarl import URL

            found = self._urls[path] = URL(f"{self.base}{path}")
        return found


class RelayedAnswer:
    """An upstream's answer whose body is still to come."""

    def __init__(self, response: "ClientResponse", url: str) -> None:
        self._response, self._url = response, url
        self._tail = b""
        self._events = 0
        self.status = response.status
        self.is_stream = response.content_type == "text/event-stream"

    @property
    def is_completion(self) -> bool:
        """Whether it looks like one, so that it may be passed on as the answer to a completion."""
        return self.status == 200 and (self.is_stream or self._response.content_type.endswith("json"))

    @property
    def headers(self) -> Headers:
        """Those to pass back, lower case."""
        return [
            (name, value)
            for name, value in ((raw.lower(), value) for raw, value in self._response.raw_headers)
            if name not in _NOT_PASSED_BACK
        ]

    @property
    def plain_headers(self) -> Mapping[str, str]:
        """All of them, for whoever decides what the answer means."""
        return self._response.headers

    async def chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """The body as it comes, each part with whether more will follow; the last one may be empty.

        Raises:
            EndpointError: it breaks off or falls silent.
        """
        content = self._response.content
        with told(self._url):
            more = True
            while more:
                chunk = await content.readany()
                self._keep(chunk)
                more = not content.at_eof()
                yield chunk, more

    async def beginning(self, most_bytes: int) -> bytes:
        """The first bytes of a refusal.

        Raises:
            EndpointError: it breaks off or falls silent.
        """
        with told(self._url):
            return await self._response.content.read(most_bytes)

    @property
    def usage(self) -> Usage | None:
        """What the upstream says it took; None where it does not, or the end has not come."""
        return usage_in(self._tail)

    @property
    def events(self) -> int:
        """Events of a stream so far, about one a token."""
        return self._events

    def _keep(self, chunk: bytes) -> None:
        if self.is_stream:
            self._events += chunk.count(b"data:")
        self._tail = chunk[-_TAIL_BYTES:] if len(chunk) >= _TAIL_BYTES else (self._tail + chunk)[-_TAIL_BYTES:]


class Relay:
    """Sends requests on, over the pooled connections of an `EndpointClient`."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client

    @contextlib.asynccontextmanager
    async def ask(
        self, target: Target, path: str, body: bytes, *, traceparent: str | None = None
    ) -> AsyncIterator[RelayedAnswer]:
        """Send a body; gives the answer once its head is there. Leaving the block early closes the connection.

        Raises:
            EndpointError: the upstream cannot be reached, or breaks off before its answer begins.
        """
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **self._authorization(target)}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        url = target.url(path)
        response = await self._send(url, body, headers)
        try:
            yield RelayedAnswer(response, str(url))
        finally:
            response.release() if response.content.at_eof() else response.close()

    def without_key(self, target: Target, text: str) -> str:
        """The text with the target's key masked."""
        return self._client.without_key(target.origin, text)

    def _authorization(self, target: Target) -> Mapping[str, str]:
        return self._client.authorization(target.origin)

    async def _send(self, url: "URL", body: bytes, headers: Mapping[str, str]) -> "ClientResponse":
        """Once more where the upstream closed an idle connection just then: it has not read the request."""
        import aiohttp

        session = self._client.session()
        with told(str(url)):
            try:
                return await session.post(url, data=body, headers=headers, allow_redirects=False, auto_decompress=False)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as gone:
                if isinstance(gone, aiohttp.ClientConnectorError):
                    raise
                return await session.post(url, data=body, headers=headers, allow_redirects=False, auto_decompress=False)


def usage_in(tail: bytes) -> Usage | None:
    """The tokens told in the last `usage` object of an answer's end; None where there is none."""
    start = tail.rfind(b'"usage"')
    if start < 0:
        return None
    prompt = _PROMPT.search(tail, start)
    if prompt is None:
        return None
    written, cached = _WRITTEN.search(tail, start), _CACHED.search(tail, start)
    return Usage(
        prompt_tokens=int(prompt[1]),
        completion_tokens=int(written[1]) if written else 0,
        cached_tokens=int(cached[1]) if cached else 0,
    )


def broken_stream(error: EndpointError) -> bytes:
    """The event that tells a client in the middle of a stream that there will be no more."""
    document = {"error": {"message": error.message, "type": "server_error", "param": None, "code": error.code}}
    return b"data: %b\n\n" % orjson.dumps(document)
