"""Trace ids through the logs: each request gets one, or goes on with the caller's (W3C Trace Context)."""

import contextlib
import random
import re
from collections.abc import Iterator
from typing import Final

import structlog

#: Ids need not be secret, only different; asking the system for randomness lets go of the interpreter each time.
_chance: Final = random.Random()  # noqa: S311
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@contextlib.contextmanager
def traced(incoming: str | None) -> Iterator[str]:
    """Log with the ids of a trace for the duration of the block; gives the `traceparent` to answer with.

    An absent or invalid header (wrong form, version ff, ids of zeros only) starts a new trace, as the standard says.
    """
    drawn = f"{_chance.getrandbits(192):048x}"
    trace_id, span_id = _trace_id(incoming) or drawn[16:], drawn[:16]
    before = structlog.contextvars.bind_contextvars(trace_id=trace_id, span_id=span_id)
    try:
        yield f"00-{trace_id}-{span_id}-01"
    finally:
        structlog.contextvars.reset_contextvars(**before)


def _trace_id(incoming: str | None) -> str | None:
    match = _TRACEPARENT.fullmatch(incoming) if incoming else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    return match[2] if set(match[2]) != {"0"} and set(match[3]) != {"0"} else None
