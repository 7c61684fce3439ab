"""Log lines as programs and people get them."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from conductor.adapters.logs import MASK, configure_logs, scrub

KEY = "ck_" + "Ab3-_" * 8 + "xyz"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def to_stream(level: str = "info", style: str = "json") -> io.StringIO:
    stream = io.StringIO()
    configure_logs(level=level, style=style, stream=stream)
    return stream


def test_a_line_is_one_json_object_with_time_level_logger_and_context() -> None:
    stream = to_stream()
    with structlog.contextvars.bound_contextvars(trace_id="7" * 32, span_id="8" * 16):
        structlog.get_logger("conductor.x").info("task_done", task="a\nb\x1b[31m", seconds=0.5)
    (line,) = logged(stream)
    written_at = datetime.fromisoformat(line.pop("timestamp"))
    assert written_at.utcoffset() == timedelta(0)
    assert line == {
        "event": "task_done",
        "logger": "conductor.x",
        "level": "info",
        "task": "a\nb\x1b[31m",
        "seconds": 0.5,
        "trace_id": "7" * 32,
        "span_id": "8" * 16,
    }


def test_libraries_and_warnings_take_the_same_road() -> None:
    stream = to_stream()
    with structlog.contextvars.bound_contextvars(trace_id="7" * 32):
        logging.getLogger("uvicorn.error").info("listening on %s", "port 1")
    warnings.warn("careful", stacklevel=1)
    first, second = logged(stream)
    assert (first["event"], first["logger"], first["trace_id"]) == ("listening on port 1", "uvicorn.error", "7" * 32)
    assert (second["level"], "careful" in second["event"]) == ("warning", True)


def test_chatty_libraries_are_heard_only_when_debugging() -> None:
    stream = to_stream("info")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("alembic").warning("odd")
    assert [line["event"] for line in logged(stream)] == ["odd"]
    stream = to_stream("debug")
    logging.getLogger("aiosqlite").debug("executing SELECT 1")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    assert [line["event"] for line in logged(stream)] == ["SELECT 1"]


def test_a_changed_level_reaches_loggers_made_before() -> None:
    log = structlog.get_logger("early")
    quiet = to_stream("warning")
    log.info("unheard")
    loud = to_stream("debug")
    log.debug("heard")
    assert quiet.getvalue() == ""
    assert [line["event"] for line in logged(loud)] == ["heard"]


def test_secrets_are_masked_in_fields_texts_and_tracebacks() -> None:
    stream = to_stream()
    log = structlog.get_logger("x")
    log.info(
        "login",
        api_key="abc-secret",
        headers={"Authorization": "abc-secret", "cookies": [{"sessionToken": "abc-secret"}]},
        path="/login?token=abc-secret&next=1",
        note=f"Bearer abc-secret0 and {KEY} and postgresql://u:abc-secret@h/n",
    )
    try:
        int("redis://:abc-secret@h")
    except ValueError:
        log.exception("failed")
    logging.getLogger("uvicorn.access").warning("GET /login?token=%s", "abc-secret")
    assert "abc-secret" not in stream.getvalue()
    assert KEY not in stream.getvalue()
    first = logged(stream)[0]
    assert first["path"] == f"/login?token={MASK}&next=1"
    assert first["note"] == f"Bearer {MASK} and ck_{MASK} and postgresql://u:{MASK}@h/n"
    assert "ValueError" in logged(stream)[1]["exception"]


def test_what_only_sounds_like_a_secret_stays_readable() -> None:
    fields = {"max_tokens": 5, "token_count": 7, "public_key": "ab", "idempotency_key": "k", "key": "queue.depth"}
    assert scrub(None, "info", dict(fields)) == fields


_PLAIN = st.none() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.builds(object)
_FIELDS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda name: f"x{name}"),
    st.recursive(
        _PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner), max_leaves=5
    ),
)


@given(_FIELDS)
@example({"x": "\ud800"})
@example({"x": 2**70})
@example({"x": object()})
def test_nothing_that_is_logged_breaks_the_line(fields: dict[str, Any]) -> None:
    stream = to_stream()
    structlog.get_logger("x").info("odd", **fields)
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert json.loads(line)["event"] == "odd"


def test_text_for_people_shows_control_characters_as_escapes() -> None:
    stream = to_stream(style="text")
    structlog.get_logger("x").info("a\x1b[2Jb", task="c\x07d")
    hidden = "local" + "value"
    try:
        int(hidden[5:])
    except ValueError:
        structlog.get_logger("x").exception("failed")
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a\\x1b[2Jb" in text
    assert "ValueError: invalid literal" in text
    assert hidden not in text  # a traceback that prints local variables would hold it
