"""The headers that a request of the stateless era repeats from its body, so that gateways can route without reading it.

Both ends are here: what a client of ours sends, and what is checked when somebody else's arrives.
Source: revision 2026-07-28, Streamable HTTP, Standard Request Headers.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from conductor.faces.mcp.revision import HANDSHAKE, STATELESS, Era, named_version, unsupported
from conductor.faces.mcp.rpc import HEADER_MISMATCH, RpcError

VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
#: Of the handshake era.
SESSION: Final = "mcp-session-id"

#: The parameter that `Mcp-Name` repeats.
_NAMED_BY: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")


def era_of_headers(headers: Iterable[tuple[str, str]], message: Any) -> Era:
    """The era that the headers of a POST belong to, after comparing them with its body.

    Args:
        headers: names in lower case.

    Raises:
        RpcError: they contradict the body, are missing or given twice, or name a revision that is not served.
    """
    given = _once(headers)
    version, params = given.get(VERSION), message.get("params") if isinstance(message, dict) else None
    named = named_version(params)
    is_handshake = isinstance(message, dict) and message.get("method") == "initialize"
    if version is None:
        if named is not None and not is_handshake:
            raise _mismatch("MCP-Protocol-Version is missing; it repeats the revision in _meta")
        return Era.HANDSHAKE
    if version in HANDSHAKE:
        if named is not None and named != version and not is_handshake:
            raise _mismatch("MCP-Protocol-Version and the revision in _meta differ")
        return Era.HANDSHAKE if named is None or is_handshake else Era.STATELESS
    if version not in STATELESS:
        raise unsupported(version)
    if isinstance(message, dict) and "id" in message and "method" in message:
        _compare(given, message, named, version)
    return Era.STATELESS


def headers_for(message: Any) -> dict[str, str]:
    """The headers that belong to a message; none for those of the handshake era."""
    params = message.get("params") if isinstance(message, dict) else None
    version = named_version(params)
    if not isinstance(version, str) or not isinstance(message.get("method"), str) or message["method"] == "initialize":
        return {}
    found = {VERSION: encoded(version), METHOD: encoded(message["method"])}
    name = _name(message["method"], params)
    return found if name is None else found | {NAME: encoded(name)}


def encoded(value: str) -> str:
    """A text as a header's value; what a header cannot hold is wrapped as `=?base64?…?=`."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str) -> str | None:
    """The text that a header's value stands for; None if its wrapping is broken."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _once(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in headers:
        if name in (VERSION, METHOD, NAME):
            if name in given:
                raise _mismatch(f"{name} is given more than once")
            given[name] = value.strip()
    return given


def _compare(given: Mapping[str, str], message: Mapping[str, Any], named: Any, version: str) -> None:
    if named is not None and named != version:
        raise _mismatch("MCP-Protocol-Version and the revision in _meta differ")
    method = message["method"]
    if METHOD not in given:
        raise _mismatch("Mcp-Method is missing; it repeats the method")
    if decoded(given[METHOD]) != method:
        raise _mismatch(f"Mcp-Method is {given[METHOD][:100]!r} and the method is another")
    name = _name(method, message.get("params")) if isinstance(method, str) else None
    if name is None:
        return
    if NAME not in given:
        raise _mismatch(f"Mcp-Name is missing; it repeats params.{_NAMED_BY[method]}")
    if decoded(given[NAME]) != name:
        raise _mismatch(f"Mcp-Name is {given[NAME][:100]!r} and params.{_NAMED_BY[method]} is another")


def _name(method: str, params: Any) -> str | None:
    key = _NAMED_BY.get(method)
    value = params.get(key) if key is not None and isinstance(params, Mapping) else None
    return value if isinstance(value, str) else None


def _mismatch(message: str) -> RpcError:
    return RpcError(HEADER_MISMATCH, f"Header mismatch: {message}")
