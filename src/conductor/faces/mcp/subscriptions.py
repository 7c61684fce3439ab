"""Subscriptions of the stateless era: a request that stays open and is told which resources have changed.

The first thing that is told is what is followed of what was asked for; what does not change here (lists of tools and
prompts) and what nobody knows is left out. The answer comes when nothing can change any more.

Source: revision 2026-07-28, Subscriptions.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from conductor.faces.mcp.notices import Tell, notification
from conductor.faces.mcp.rpc import INVALID_PARAMS, INVALID_REQUEST, Id, RpcError

SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
_MOST_RESOURCES: Final = 100

#: Follows resources by their addresses: says which it follows, then which has changed, and returns when none can.
Follow = Callable[[Sequence[str], Callable[[Collection[str]], None], Callable[[str], None]], Awaitable[None]]


async def listen(params: Mapping[str, Any], request_id: Id | None, tell: Tell | None, follow: Follow) -> dict[str, Any]:
    """Serve one `subscriptions/listen`.

    Raises:
        RpcError: the filter is none, or nothing can be told.
    """
    wanted = _resources(params.get("notifications"))
    if tell is None:
        raise RpcError(
            INVALID_REQUEST, "Invalid request: subscriptions need a stream; name text/event-stream in Accept"
        )
    meta = {"_meta": {SUBSCRIPTION_KEY: request_id}}

    def begun(followed: Collection[str]) -> None:
        agreed = {"resourceSubscriptions": list(followed)} if followed else {}
        tell(notification("subscriptions/acknowledged", meta | {"notifications": agreed}))

    def changed(uri: str) -> None:
        tell(notification("resources/updated", meta | {"uri": uri}))

    await follow(wanted, begun, changed)
    return meta


def _resources(wanted: object) -> list[str]:
    """The addresses that a filter names, each once."""
    if not isinstance(wanted, Mapping):
        raise RpcError(INVALID_PARAMS, "Invalid params: notifications must be an object")
    uris = wanted.get("resourceSubscriptions", [])
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise RpcError(
            INVALID_PARAMS, "Invalid params: notifications.resourceSubscriptions must be a list of addresses"
        )
    if len(uris) > _MOST_RESOURCES:
        raise RpcError(INVALID_PARAMS, f"Invalid params: at most {_MOST_RESOURCES} resources can be followed at once")
    return list(dict.fromkeys(uris))
