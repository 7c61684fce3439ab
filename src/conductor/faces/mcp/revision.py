"""Which revision of the protocol a message speaks.

Two eras are served, message by message, with nothing remembered between messages. In the *stateless* era (2026-07-28 on)
each request carries revision and capabilities in `params._meta`. In the *handshake* era (up to 2025-11-25) a client first
sends `initialize`; what it says there changes no later answer, so there is nothing to keep.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from conductor.faces.mcp.rpc import INVALID_PARAMS, UNSUPPORTED_VERSION, RpcError

STATELESS: Final = ("2026-07-28",)
#: Newest first. Batches, which 2025-03-26 knew, are not taken.
HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SUPPORTED: Final = STATELESS + HANDSHAKE

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"


class Era(Enum):
    """Whether a client says who it is with every request, or once."""

    STATELESS = "stateless"
    HANDSHAKE = "handshake"


def era_of(method: str, params: Mapping[str, Any]) -> Era:
    """The era of a request, by what it carries."""
    if method == "server/discover" or (method != "initialize" and named_version(params) is not None):
        return Era.STATELESS
    return Era.HANDSHAKE


def named_version(params: object) -> Any:
    """The revision that a request names in `_meta`; None if it names none."""
    meta = params.get("_meta") if isinstance(params, Mapping) else None
    return meta.get(VERSION_KEY) if isinstance(meta, Mapping) else None


def check_envelope(params: Mapping[str, Any]) -> None:
    """See that a request of the stateless era says what each of them must.

    Raises:
        RpcError: `_meta` lacks revision or capabilities, or the revision is not served.
    """
    meta = params.get("_meta")
    if not isinstance(meta, Mapping):
        raise RpcError(INVALID_PARAMS, f"Invalid params: _meta with {VERSION_KEY} and {CAPABILITIES_KEY} is missing")
    version = meta.get(VERSION_KEY)
    if not isinstance(version, str):
        raise RpcError(INVALID_PARAMS, f"Invalid params: _meta.{VERSION_KEY} is missing or no text")
    if version not in STATELESS:
        raise unsupported(version)
    if not isinstance(meta.get(CAPABILITIES_KEY), Mapping):
        raise RpcError(INVALID_PARAMS, f"Invalid params: _meta.{CAPABILITIES_KEY} is missing or no object")
    client = meta.get(CLIENT_KEY)
    if client is not None and not _names_somebody(client):
        raise RpcError(INVALID_PARAMS, f"Invalid params: _meta.{CLIENT_KEY} needs name and version, both text")


def unsupported(version: str) -> RpcError:
    """The refusal of a revision."""
    data = {"supported": list(SUPPORTED), "requested": version[:100]}
    return RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def agreed(requested: object) -> str:
    """The revision a handshake ends with: the one asked for if it is served, else the newest with a handshake."""
    return requested if isinstance(requested, str) and requested in HANDSHAKE else HANDSHAKE[0]


def _names_somebody(client: object) -> bool:
    return isinstance(client, Mapping) and all(isinstance(client.get(key), str) for key in ("name", "version"))
