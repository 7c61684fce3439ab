"""What goes wrong with an endpoint, in our words: broken connections, garbled answers, refusals and how long they last.

aiohttp is imported when a failure is looked at, because the server must start without it.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from conductor.domain.errors import ModelError
from conductor.domain.json import JsonValue

#: Characters of a refusal that are shown.
SHOWN: Final = 400


class EndpointError(ModelError):
    """A model elsewhere does not answer as it should; `details` holds `again` (asking again may help) and the status."""

    code = "model.endpoint"

    def __init__(self, message: str, *, again: bool, status: int | None = None, field: str | None = None) -> None:
        self.again, self.status = again, status
        super().__init__(message, field=field, details={"again": again, "status": status})


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
            f"{url} does not speak HTTP as it should ({_first_line(garbled.message)}); check the address",
            again=False,
        ) from garbled
    except (aiohttp.ClientError, ValueError) as wrong:
        raise EndpointError(
            f"{url} cannot be asked ({type(wrong).__name__}); check the address", again=False
        ) from wrong


def _first_line(message: str) -> str:
    return next(iter(message.splitlines()), "")[:SHOWN]


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
    return " ".join(text[:SHOWN].split()) or "without a word"


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
