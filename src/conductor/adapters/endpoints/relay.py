"""Pass a request on to an upstream and its answer back, byte by byte: the hot path of the gateway.

The body goes out as it came, except for the value of `model`, which is replaced in place where the upstream knows the model
by another name. The answer's chunks are handed on as they come and nothing is kept of them but the last few KiB, from which
`usage` is read when all is over: tokens are never parsed. Whoever closes the block early (the client left) closes the
connection, which ends the work upstream.

Which upstream, who may, and how often again is not decided here. Not covered: compressed bodies (none are asked for).
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.wire import Connection, Server, Wire
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Usage
from conductor.domain.units import KIB

#: The last event of a stream, or the end of a document, in which `usage` stands.
_TAIL_BYTES: Final = 4 * KIB
_MODEL: Final = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
#: The same name, whose letters may also be written by their numbers.
_SPELT: Final = re.compile(rb'"(?:m|\\u006[dD])(?:o|\\u006[fF])(?:d|\\u0064)(?:e|\\u0065)(?:l|\\u006[cC])"\s*:')
_PLAIN: Final = re.compile(rb'"model"\s*:')
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
    if b"\\u00" in body and len(_SPELT.findall(body)) != len(_PLAIN.findall(body)):
        raise _not_once()
    places = [match.span(1) for match in _MODEL.finditer(body)]
    if len(places) > 1:
        at_top = _starts_at_top(body, frozenset(start for start, _ in places))
        places = [span for span in places if span[0] in at_top]
    if len(places) != 1 or orjson.loads(body[slice(*places[0])]) != model:
        raise _not_once()
    return places[0]


def _not_once() -> InvalidInput:
    return InvalidInput('the body must name its model once, as "model"', field="model")


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


@dataclass(frozen=True, slots=True)
class Way:
    """A path of a target, ready to be asked: its server, the head of a request but for what is each one's own, its URL."""

    server: Server
    head: bytes
    url: str


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
    _ways: dict[str, Way] = field(default_factory=dict, compare=False, repr=False)

    def way(self, path: str) -> Way:
        """The way to a path below the base; found once, for parsing an address costs more than the rest.

        Raises:
            EndpointError: the address is none.
        """
        found = self._ways.get(path)
        if found is None:
            found = self._ways[path] = _way(f"{self.base}{path}")
        return found


def _way(address: str) -> Way:
    from yarl import URL

    try:
        url = URL(address)
        host, port = url.raw_host, url.port
    except ValueError as wrong:
        raise EndpointError(f"{address} cannot be asked ({wrong}); check the address", again=False) from wrong
    if not host or not port:
        raise EndpointError(f"{address} cannot be asked (it names no host); check the address", again=False)
    lines = [
        f"POST {url.raw_path_qs} HTTP/1.1",
        f"Host: {url.host_port_subcomponent}",
        "User-Agent: conductor",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        "",
    ]
    return Way(Server(host, port, url.scheme == "https"), "\r\n".join(lines).encode("ascii"), str(url))


class RelayedAnswer:
    """An upstream's answer whose body is still to come; to be closed, which breaks off what was not read."""

    def __init__(self, wire: Wire, server: Server, connection: Connection) -> None:
        self._wire, self._server, self._connection = wire, server, connection
        self._headers = [(name.lower(), value) for name, value in connection.headers]
        self._tail = b""
        self.status = connection.status
        kind = self.header(b"content-type").partition(";")[0].strip().lower()
        self.is_stream = kind == "text/event-stream"
        #: Whether it looks like one, so that it may be passed on as the answer to a completion.
        self.is_completion = self.status == 200 and (self.is_stream or kind.endswith("json"))
        #: Events of a stream so far, about one a token.
        self.events = 0

    def header(self, name: bytes) -> str:
        """What it says under a name in lower case; empty where it says nothing."""
        for known, value in self._headers:
            if known == name:
                return value.decode("latin-1")
        return ""

    @property
    def headers(self) -> Headers:
        """Those to pass back, lower case."""
        kept = [header for header in self._headers if header[0] not in _NOT_PASSED_BACK]
        of_connection = self.header(b"connection")
        if of_connection:  # names others that are of this connection only (RFC 9110, 7.6.1)
            named = {name.strip().lower().encode("latin-1") for name in of_connection.split(",")}
            kept = [header for header in kept if header[0] not in named]
        return kept

    async def read(self) -> tuple[bytes, bool]:
        """The next part of the body, and whether more will follow; the last one may be empty.

        Raises:
            EndpointError: it breaks off or falls silent.
        """
        chunk = await self._connection.read()
        if self.is_stream:
            self.events += chunk.count(b"data:")
        self._tail = chunk[-_TAIL_BYTES:] if len(chunk) >= _TAIL_BYTES else (self._tail + chunk)[-_TAIL_BYTES:]
        return chunk, not self._connection.is_over

    async def beginning(self, most_bytes: int) -> bytes:
        """The first bytes of a refusal.

        Raises:
            EndpointError: it breaks off or falls silent.
        """
        begun = await self._connection.read()
        while len(begun) < most_bytes and not self._connection.is_over:
            begun += await self._connection.read()
        return begun[:most_bytes]

    @property
    def usage(self) -> Usage | None:
        """What the upstream says it took; None where it does not, or the end has not come."""
        return usage_in(self._tail)

    def close(self) -> None:
        """Done with it: the connection serves the next request, or is closed, which ends the work upstream."""
        self._wire.give_back(self._server, self._connection)


class Relay:
    """Sends requests on, over the pooled connections of an `EndpointClient`."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client

    async def ask(self, target: Target, path: str, body: bytes, *, traceparent: str | None = None) -> RelayedAnswer:
        """Send a body; returns the answer, to be closed, once its head is there.

        Args:
            traceparent: of our own making, for it goes into the head as it is.

        Raises:
            EndpointError: the upstream cannot be reached, or breaks off before its answer begins.
        """
        way, wire = target.way(path), self._client.wire()
        parts = [way.head, *self._own_lines(target, traceparent), b"Content-Length: %d\r\n\r\n" % len(body), body]
        return RelayedAnswer(wire, way.server, await wire.ask(way.server, b"".join(parts), way.url))

    def without_key(self, target: Target, text: str) -> str:
        """The text with the target's key masked."""
        return self._client.without_key(target.origin, text)

    def _own_lines(self, target: Target, traceparent: str | None) -> list[bytes]:
        lines = []
        for name, value in self._client.authorization(target.origin).items():
            if not (value.isascii() and value.isprintable()):
                raise EndpointError(f"the key of {target.origin} holds what no header can; set it anew", again=False)
            lines.append(f"{name}: {value}\r\n".encode("ascii"))
        if traceparent is not None:
            lines.append(f"traceparent: {traceparent}\r\n".encode("ascii"))
        return lines


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
