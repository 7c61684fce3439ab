"""Trace context as the W3C specification has it (https://www.w3.org/TR/trace-context/, section 3.2)."""

import re

import structlog

from conductor.app.tracing import traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def trace_id_after(header: str | None) -> str:
    with traced(header) as answer:
        match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", answer)
    assert match is not None
    assert match[1] != "0" * 32
    assert match[2] not in ("0" * 16, PARENT)
    return match[1]


def test_a_valid_header_is_continued() -> None:
    assert trace_id_after(f"00-{TRACE}-{PARENT}-01") == TRACE
    assert trace_id_after(f"00-{TRACE}-{PARENT}-00") == TRACE


def test_an_invalid_header_begins_a_new_trace() -> None:
    for header in (
        None,
        "",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-0x",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"00-{TRACE}-{PARENT}-01\n",
    ):
        assert trace_id_after(header) not in (TRACE, TRACE.upper()), header


def test_of_a_later_version_the_known_part_is_used() -> None:
    assert trace_id_after(f"cc-{TRACE}-{PARENT}-09-what-comes") == TRACE


def test_the_ids_are_bound_within_and_not_beyond() -> None:
    with traced(f"00-{TRACE}-{PARENT}-00") as answer:
        bound = structlog.contextvars.get_contextvars()
        assert answer.startswith(f"00-{bound['trace_id']}-{bound['span_id']}-")
    assert "trace_id" not in structlog.contextvars.get_contextvars()
