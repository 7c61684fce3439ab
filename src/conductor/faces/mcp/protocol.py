"""The protocol itself: one message in, at most one message out, nothing kept in between.

Pure but for what the catalogue does: it knows no transport. A catalogue offers tools, resources and prompts as plain
documents; here requests are checked, dispatched and answered in the form of the era that the client speaks.

Covered: server/discover, initialize, ping, tools, resources, prompts, completion; cursors; progress and log messages of
calls under way; subscriptions (stateless era); both eras. Not covered, and not claimed among the capabilities:
`resources/subscribe` (handshake era), requests to the client (sampling, elicitation, roots), batches.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import structlog

from conductor.app.tools.offered import Report
from conductor.domain.errors import ConductorError
from conductor.faces.mcp.notices import Tell, level_of, report_to
from conductor.faces.mcp.paging import STABLE_MS, cursor_of, kept, page_of, place_of
from conductor.faces.mcp.revision import SERVER_KEY, SUPPORTED, Era, agreed, check_envelope, era_of
from conductor.faces.mcp.rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    Id,
    RpcError,
    id_of,
)
from conductor.faces.mcp.subscriptions import listen

_MOST_COMPLETIONS: Final = 100
_CAPABILITIES: Final[Mapping[str, Any]] = {
    "tools": {},
    "resources": {},
    "prompts": {},
    "completions": {},
    "logging": {},
}
#: Before, subscriptions would need a stream that stands for a session, which is not served.
_STATELESS_CAPABILITIES: Final = {**_CAPABILITIES, "resources": {"subscribe": True}}

Document = Mapping[str, Any]
log = structlog.get_logger(__name__)


class UnknownResource(Exception):
    """No resource has this address, or not any more."""


class Catalogue(Protocol):
    """What a server offers. Lists keep their order; documents are as revision 2026-07-28 writes them."""

    @property
    def info(self) -> Document:
        """Name and version of the server (`Implementation`)."""
        ...

    @property
    def instructions(self) -> str:
        """For the model: what the server is good for."""
        ...

    def tools(self) -> Sequence[Document]:
        """Every tool."""
        ...

    async def call(self, name: str, arguments: Document, report: Report) -> Document:
        """The result of a tool; its failure is a result too (`isError`). An unknown tool raises `RpcError`.

        Args:
            report: told how far it has come.
        """
        ...

    def prompts(self) -> Sequence[Document]:
        """Every prompt."""
        ...

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Document:
        """One prompt, filled in; unknown prompts and missing arguments raise `RpcError`."""
        ...

    async def resources(self, after: str | None) -> tuple[Sequence[Document], str | None]:
        """A page of resources, and where the next one begins."""
        ...

    def templates(self) -> Sequence[Document]:
        """Every template of resource addresses."""
        ...

    async def read(self, uri: str) -> tuple[Sequence[Document], int]:
        """The contents of a resource, and for how many milliseconds they may be kept; raises `UnknownResource`."""
        ...

    async def follow(
        self, uris: Sequence[str], begun: Callable[[Collection[str]], None], changed: Callable[[str], None]
    ) -> None:
        """Follow resources until none of them can change any more; see `subscriptions.Follow`."""
        ...

    async def complete(self, ref: Document, argument: str, begun: str) -> Sequence[str]:
        """Values that an argument which begins so may have."""
        ...


class Dispatcher:
    """Answers messages about one catalogue; safe to call from many coroutines of one loop."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        both = {
            "tools/list": self._tools,
            "resources/list": self._resources,
            "resources/templates/list": self._templates,
            "resources/read": self._read,
            "prompts/list": self._prompts,
            "prompts/get": self._prompt,
            "completion/complete": self._complete,
        }
        self._methods: Mapping[Era, Mapping[str, Callable[[Document], Awaitable[dict[str, Any]]]]] = {
            Era.STATELESS: both | {"server/discover": self._discover},
            Era.HANDSHAKE: both | {"initialize": self._initialize, "ping": self._ping, "logging/setLevel": self._level},
        }

    async def answer(
        self, message: Any, era: Era | None = None, *, tell: Tell | None = None, level: str | None = None
    ) -> dict[str, Any] | None:
        """The answer to a message; None for notifications and for answers.

        Args:
            message: any JSON value.
            era: where the transport knows it; else it is read from the message.
            tell: carries notifications about the request to the client; None where there is no way to.
            level: of log messages, set earlier by a client of the handshake era.
        """
        request_id = id_of(message)
        try:
            method, params = _request(message)
            if "id" not in message:
                return None  # a notification: none of them means anything to a server that keeps nothing
            return {
                "jsonrpc": "2.0",
                "id": request_id,
                "result": await self._result(request_id, method, params, era, tell, level),
            }
        except _Owed:
            return None
        except RpcError as error:
            return error.answer(request_id)
        except ConductorError as error:
            return RpcError.of(error).answer(request_id)
        except Exception:  # whatever a request did, the server goes on; a cancellation is none of these
            log.exception("mcp_request_failed")
            return RpcError.unforeseen().answer(request_id)

    async def _result(
        self,
        request_id: Id | None,
        method: str,
        params: Document,
        era: Era | None,
        tell: Tell | None,
        level: str | None,
    ) -> dict[str, Any]:
        era = era or era_of(method, params)
        if era is Era.STATELESS:
            check_envelope(params)
        act = self._methods[era].get(method)
        if method == "tools/call":
            act = partial(self._call, report=report_to(tell, params, level if era is Era.HANDSHAKE else None))
        elif method == "subscriptions/listen" and era is Era.STATELESS:
            act = partial(listen, request_id=request_id, tell=tell, follow=self._catalogue.follow)
        elif act is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method[:100]}", {"method": method[:100]})
        try:
            result = await act(params)
        except UnknownResource as unknown:
            code = INVALID_PARAMS if era is Era.STATELESS else RESOURCE_NOT_FOUND
            raise RpcError(code, f"Resource not found: {unknown}", {"uri": str(unknown)}) from None
        if era is Era.HANDSHAKE:
            return {name: value for name, value in result.items() if name not in ("ttlMs", "cacheScope")}
        meta = {**result.get("_meta", {}), SERVER_KEY: self._catalogue.info}
        return {"resultType": "complete", **result, "_meta": meta}

    async def _discover(self, _params: Document) -> dict[str, Any]:
        return {
            "supportedVersions": list(SUPPORTED),
            "capabilities": _STATELESS_CAPABILITIES,
            "instructions": self._catalogue.instructions,
            **kept(STABLE_MS),
        }

    async def _initialize(self, params: Document) -> dict[str, Any]:
        if not isinstance(params.get("protocolVersion"), str):
            raise RpcError(INVALID_PARAMS, "Invalid params: protocolVersion is missing or no text")
        return {
            "protocolVersion": agreed(params["protocolVersion"]),
            "capabilities": _CAPABILITIES,
            "serverInfo": self._catalogue.info,
            "instructions": self._catalogue.instructions,
        }

    async def _ping(self, _params: Document) -> dict[str, Any]:
        return {}

    async def _tools(self, params: Document) -> dict[str, Any]:
        return page_of("tools", self._catalogue.tools(), params, "name")

    async def _level(self, params: Document) -> dict[str, Any]:
        level_of(params.get("level"))  # the transport remembers it: nothing is kept here
        return {}

    async def _call(self, params: Document, report: Report) -> dict[str, Any]:
        name, arguments = _text(params, "name"), params.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: arguments must be an object")
        return dict(await self._catalogue.call(name, arguments or {}, report))

    async def _resources(self, params: Document) -> dict[str, Any]:
        cursor = params.get("cursor")
        found, following = await self._catalogue.resources(None if cursor is None else place_of("resources", cursor))
        more = {} if following is None else {"nextCursor": cursor_of("resources", following)}
        return {"resources": list(found), **more, **kept(0)}

    async def _templates(self, params: Document) -> dict[str, Any]:
        return page_of("resourceTemplates", self._catalogue.templates(), params, "uriTemplate")

    async def _read(self, params: Document) -> dict[str, Any]:
        contents, ttl_ms = await self._catalogue.read(_text(params, "uri"))
        return {"contents": list(contents), **kept(ttl_ms)}

    async def _prompts(self, params: Document) -> dict[str, Any]:
        return page_of("prompts", self._catalogue.prompts(), params, "name")

    async def _prompt(self, params: Document) -> dict[str, Any]:
        name, arguments = _text(params, "name"), params.get("arguments")
        given = {} if arguments is None else arguments
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise RpcError(INVALID_PARAMS, "Invalid params: arguments must be an object of texts")
        return dict(await self._catalogue.prompt(name, given))

    async def _complete(self, params: Document) -> dict[str, Any]:
        ref, argument = params.get("ref"), params.get("argument")
        if not isinstance(ref, dict) or not isinstance(argument, dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: ref and argument must be objects")
        found = list(await self._catalogue.complete(ref, _text(argument, "name"), _text(argument, "value")))
        values = found[:_MOST_COMPLETIONS]
        return {"completion": {"values": values, "total": len(found), "hasMore": len(found) > len(values)}}


class _Owed(Exception):
    """The message is an answer, and is owed none."""


def _request(message: Any) -> tuple[str, Document]:
    """Method and parameters of a request or notification."""
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "Invalid request: a message is one JSON object; batches are not taken")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid request: jsonrpc must be "2.0"')
    method, params = message.get("method"), message.get("params", {})
    if method is None and ("result" in message or "error" in message):
        raise _Owed
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "Invalid request: method is missing or no text")
    if not isinstance(params, dict):
        raise RpcError(
            INVALID_PARAMS if "id" in message else INVALID_REQUEST, "Invalid params: params must be an object"
        )
    if "id" in message and id_of(message) is None:
        raise RpcError(INVALID_REQUEST, "Invalid request: the id must be text or a whole number")
    return method, params


def _text(params: Document, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is missing or no text")
    return value
