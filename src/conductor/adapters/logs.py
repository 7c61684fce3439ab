"""How the log looks: one JSON object per line, or text for people; our own records and those of libraries alike.

Each line carries the time (UTC, ISO 8601), level, logger, event, the bound context (`trace_id` and `span_id` among it;
see `app.tracing`) and the record's own fields. Values under names that mean secrets are masked, as are keys, bearer
tokens and passwords of URLs within texts, tracebacks included.

Not covered: rotation (the service manager's), shipping logs elsewhere, secrets under innocent names.
"""

import json
import logging
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from conductor.domain.redaction import MASK, without_secrets

LEVELS: Final = ("debug", "info", "warning", "error")

#: Libraries that say at `info` what only their authors want to know.
_CHATTY: Final = ("alembic", "sqlalchemy", "watchfiles", "asyncio", "uvicorn.access")
#: Says at `debug` each statement that SQLAlchemy has said already, and each step of it, with all values.
_REPEATING: Final = "aiosqlite"
_DEEPEST: Final = 6
_SECRET_WORDS: Final = frozenset(
    {"password", "passwd", "passphrase", "secret", "secrets", "token", "authorization", "cookie", "credential"}
    | {"credentials", "apikey", "session"}
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SECRET_TEXT: Final = re.compile(
    r"(?P<key>\bck_)[A-Za-z0-9_-]{20,}"
    r"|(?P<bearer>\b(?:[Bb]earer|[Bb]asic) )[A-Za-z0-9._~+/=-]{8,}"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def join_host_logs() -> None:
    """Hand our records to the logging of the program we are part of, unless it has configured structlog itself.

    Without this, a library's log lines would land on the program's standard output.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            scrub,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def configure_logs(*, level: str, style: str, stream: TextIO) -> None:
    """Send everything that is logged to one stream; may be called again to change level or style.

    Args:
        level: one of `LEVELS`.
        style: `json`, or `text` (with colours on a terminal).
        stream: usually `sys.stderr`.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    ours: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=ours,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                scrub,
                *_rendering(style, colours=stream.isatty()),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    logging.getLogger(_REPEATING).setLevel(max(threshold, logging.WARNING))
    structlog.configure(
        processors=[*ours, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        cache_logger_on_first_use=False,  # so that a changed level reaches loggers made before
    )


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what must not be read in a log; a structlog processor."""
    return {name: MASK if _is_secret(name, value) else _scrubbed(value, _DEEPEST) for name, value in event.items()}


def _rendering(style: str, *, colours: bool) -> list[Processor]:
    if style == "json":
        return [structlog.processors.JSONRenderer(serializer=_json)]
    console = structlog.dev.ConsoleRenderer(
        colors=colours,
        exception_formatter=structlog.dev.plain_traceback,  # the default prints local variables, secrets included
    )
    return [_without_controls, console]


def _json(event: EventDict, **_options: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # orjson takes no lone surrogates (odd file names) and no integer beyond 64 bits
        return json.dumps(event, default=repr)


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Show control characters as escapes: what a task is called must not move the reader's cursor."""
    return {
        name: _CONTROL.sub(lambda found: repr(found[0])[1:-1], value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _is_secret(name: object, value: object) -> bool:
    """By name; numbers are no secrets, so counts of tokens stay readable."""
    if not isinstance(value, str | bytes | list | tuple | dict) or not isinstance(name, str):
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


def _scrubbed(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(lambda found: f"{found[found.lastgroup or 0]}{MASK}", without_secrets(value))
    if isinstance(value, bytes):
        return _scrubbed(value.decode("utf-8", "replace"), depth)
    if depth == 0:
        return MASK if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {name: MASK if _is_secret(name, item) else _scrubbed(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, depth - 1) for item in value]
    return value
