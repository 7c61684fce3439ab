"""JSON-RPC 2.0 as MCP uses it: codes, errors, reading and writing of messages. No message here is ever a list.

An error that answers a message whose id cannot be known has no id at all; `null` is never sent.

Source: Model Context Protocol, revisions 2025-11-25 and 2026-07-28, Base Protocol.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from conductor.domain.errors import ConductorError, InvalidInput, NotFound, Overloaded

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
#: Of the handshake era only; revision 2026-07-28 says INVALID_PARAMS instead.
RESOURCE_NOT_FOUND: Final = -32002
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

Id = str | int


class RpcError(Exception):
    """What a request is answered with instead of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)

    @classmethod
    def of(cls, error: ConductorError) -> "RpcError":
        """One of our errors, where the protocol has no result that could carry it."""
        code = INVALID_PARAMS if isinstance(error, InvalidInput | NotFound) else INTERNAL_ERROR
        return cls(code, error.message, problem_of(error))

    @classmethod
    def unforeseen(cls) -> "RpcError":
        """An error that nobody foresaw, without its inner workings."""
        return cls(INTERNAL_ERROR, "Internal error: the server met an error of its own; its log has the details")

    def answer(self, request_id: Id | None) -> dict[str, Any]:
        """The message that tells it; without an id where none is known."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        known = {} if request_id is None else {"id": request_id}
        return {"jsonrpc": "2.0", **known, "error": error}


def problem_of(error: ConductorError) -> dict[str, Any]:
    """The fields of our error tree that programs read: the same as in the HTTP face's problem documents."""
    retry = {"retry_after_s": round(error.retry_after_s, 3)} if isinstance(error, Overloaded) else {}
    return {"code": error.code, "message": error.message, "field": error.field, "details": error.details | retry}


def read(text: str | bytes) -> Any:
    """A message as plain data.

    Raises:
        RpcError: it is no JSON.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        raise RpcError(PARSE_ERROR, "Parse error: the message is no JSON in UTF-8") from None


def write(message: Any) -> bytes:
    """A message as one line of JSON, without its end; what JSON cannot hold (infinite numbers) becomes null."""
    try:
        return orjson.dumps(message, default=_plain)
    except (TypeError, ValueError):  # whole numbers of more than 64 bits, half a surrogate pair
        return json.dumps(message, default=_plain, separators=(",", ":")).encode()


def id_of(message: Any) -> Id | None:
    """The id of a message, if it has one that can be answered."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"a {type(value).__name__} is no plain data")
