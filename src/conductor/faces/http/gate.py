"""Who may call at all: the key (or the session a one-time login made), the Host and the Origin of every request.

Other users of this machine can reach a loopback port, and so can any web page in the owner's browser; both would run
commands as the owner. So every call needs the key, a foreign `Host` is refused (DNS rebinding), and so is a foreign
`Origin` (cross-site requests). `/login` alone takes a one-time token instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from conductor.app.access import Access
from conductor.faces.http.refusals import refused

SESSION_COOKIE: Final = "conductor_session"

_MAY_READ: Final = "Access-Control-Allow-Origin"
#: What a browser asks before a page of an origin named in the settings may call (Fetch standard, CORS protocol). Such a
#: page sends the key itself: cookies are not allowed.
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, traceparent, "
    "Mcp-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What the gate says of a request.

    Args:
        answer: sent instead of the application's; None lets the request in.
        caller: who it is that is let in, for limits and accounts.
        headers: to be added to whatever is answered.
    """

    answer: Response | None = None
    caller: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Gate:
    """Checks each request before anything else looks at it."""

    def __init__(
        self, access: Access, *, hosts: Callable[[], frozenset[str]], origins: Callable[[], frozenset[str]]
    ) -> None:
        self._access = access
        self._hosts = hosts
        self._origins = origins

    def check(self, scope: Scope, headers: Mapping[str, str]) -> Admission:
        """Let a request in, or say how it is answered.

        Args:
            headers: by lower-case name.
        """
        host = headers.get("host", "")
        if _name(host) not in self._hosts():
            return _refused(
                scope,
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this server does not answer for the host {host!r}; add it to the setting server.allowed_hosts",
                code="access.host",
            )
        origin = headers.get("origin")
        if origin is None:
            return self._admit(scope, headers, ())
        is_named = origin in self._origins()
        if not is_named and origin.partition("://")[2] != host:
            return _refused(
                scope,
                HTTPStatus.FORBIDDEN,
                f"pages of {origin} may not call this server; add it to the setting server.allowed_origins",
                code="access.origin",
            )
        if is_named and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return Admission(
                answer=Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT | {_MAY_READ: origin})
            )
        may_read = ((_MAY_READ.lower().encode(), origin.encode("latin-1")),) if is_named else ()
        return self._admit(scope, headers, may_read)

    def _admit(self, scope: Scope, headers: Mapping[str, str], may_read: tuple[tuple[bytes, bytes], ...]) -> Admission:
        """Let those in who are known, or log in."""
        if scope["path"] == "/login":
            return Admission(answer=self._login(scope), headers=may_read)
        caller = "anybody" if self._access.is_open else self._known(headers)
        if caller is not None:
            return Admission(caller=caller, headers=may_read)
        return Admission(
            answer=refused(
                scope["path"],
                HTTPStatus.UNAUTHORIZED,
                "this call needs the key: send `Authorization: Bearer KEY` (the file `key` in the data folder holds it), "
                "or open the address with a one-time login that `conductor login` prints",
                code="access.key",
            ),
            headers=may_read,
        )

    def _known(self, headers: Mapping[str, str]) -> str | None:
        """Who sends the key or a session; None for strangers."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return "key" if self._access.is_key(key.strip()) else None
        session = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE)
        return "session" if session is not None and self._access.is_session(session) else None

    def _login(self, scope: Scope) -> Response:
        tokens = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token", [""])
        session = self._access.redeem(tokens[-1])
        if session is None:
            return refused(
                scope["path"],
                HTTPStatus.UNAUTHORIZED,
                "this login was used already or is older than ten minutes; `conductor login` prints a new one",
                code="access.login",
            )
        response = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        response.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="strict", path="/")
        return response


def _refused(scope: Scope, status: HTTPStatus, detail: str, *, code: str) -> Admission:
    return Admission(answer=refused(scope["path"], status, detail, code=code))


def _name(host: str) -> str:
    """`localhost:8000` → `localhost`, `[::1]:8000` → `[::1]`."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()
