"""Who may call at all: the key (or the session a one-time login made), the Host and the Origin of every request.

Other users of this machine can reach a loopback port, and so can any web page in the owner's browser; both would run
commands as the owner. So every call needs the key, a foreign `Host` is refused (DNS rebinding), and so is a foreign
`Origin` (cross-site requests). `/login` alone takes a one-time token instead.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from conductor.app.access import Access
from conductor.faces.http.problems import problem

SESSION_COOKIE: Final = "conductor_session"

_MAY_READ: Final = "Access-Control-Allow-Origin"
#: What a browser asks before a page of an origin named in the settings may call (Fetch standard, CORS protocol). Such a
#: page sends the key itself: cookies are not allowed.
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, traceparent",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}

Next = Callable[[Request], Awaitable[Response]]


class Gate:
    """Checks each request before anything else looks at it."""

    def __init__(
        self, access: Access, *, hosts: Callable[[], frozenset[str]], origins: Callable[[], frozenset[str]]
    ) -> None:
        self._access = access
        self._hosts = hosts
        self._origins = origins

    async def check(self, request: Request, proceed: Next) -> Response:
        """Let the request through, or answer it here."""
        host = request.headers.get("host", "")
        if _name(host) not in self._hosts():
            return problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this server does not answer for the host {host!r}; add it to the setting server.allowed_hosts",
                code="access.host",
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host and origin not in self._origins():
            return problem(
                HTTPStatus.FORBIDDEN,
                f"pages of {origin} may not call this server; add it to the setting server.allowed_origins",
                code="access.origin",
            )
        if origin is None or origin not in self._origins():
            return await self._admit(request, proceed)
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT | {_MAY_READ: origin})
        response = await self._admit(request, proceed)
        response.headers[_MAY_READ] = origin
        return response

    async def _admit(self, request: Request, proceed: Next) -> Response:
        """Let those through who are known, or log in."""
        if request.url.path == "/login":
            return self._login(request)
        if not self._access.is_open and not self._is_known(request):
            return problem(
                HTTPStatus.UNAUTHORIZED,
                "this call needs the key: send `Authorization: Bearer KEY` (the file `key` in the data folder holds it), "
                "or open the address with a one-time login that `conductor login` prints",
                code="access.key",
            )
        return await proceed(request)

    def _is_known(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._access.is_key(key.strip())
        session = request.cookies.get(SESSION_COOKIE)
        return session is not None and self._access.is_session(session)

    def _login(self, request: Request) -> Response:
        session = self._access.redeem(request.query_params.get("token", ""))
        if session is None:
            return problem(
                HTTPStatus.UNAUTHORIZED,
                "this login was used already or is older than ten minutes; `conductor login` prints a new one",
                code="access.login",
            )
        response = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        response.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="strict", path="/")
        return response


def _name(host: str) -> str:
    """`localhost:8000` → `localhost`, `[::1]:8000` → `[::1]`."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()
