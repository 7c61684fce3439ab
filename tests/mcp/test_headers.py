"""Headers that repeat what the body says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.conftest import STATELESS

from conductor.faces.mcp.headers import decoded, encoded, era_of_headers, headers_for
from conductor.faces.mcp.revision import Era
from conductor.faces.mcp.rpc import RpcError


def a_call(name: str = "status", method: str = "tools/call") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": STATELESS, "name": name}}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_a_header(text: str) -> None:
    value = encoded(text)

    assert value.isascii()
    assert value == value.strip()
    assert decoded(value) == text


def test_a_text_that_looks_wrapped_is_wrapped_once_more() -> None:
    assert decoded(encoded("=?base64?YQ==?=")) == "=?base64?YQ==?="


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_headers_that_we_send_are_headers_that_we_take(name: str) -> None:
    message = a_call(name)

    assert era_of_headers(headers_for(message).items(), message) is Era.STATELESS


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-method": "tools/call", "mcp-name": "status"},
        {"mcp-protocol-version": "2026-07-28", "mcp-name": "status"},
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call"},
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list", "mcp-name": "status"},
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "other"},
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "=?base64?!?="},
        {"mcp-protocol-version": "2025-11-25", "mcp-method": "tools/call", "mcp-name": "status"},
    ],
)
def test_headers_that_are_missing_or_contradict_the_body_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(RpcError) as refused:
        era_of_headers(headers.items(), a_call())

    assert refused.value.code == -32020


def test_a_header_given_twice_is_refused_even_if_both_say_the_same() -> None:
    headers = [*headers_for(a_call()).items(), ("mcp-method", "tools/call")]

    with pytest.raises(RpcError) as refused:
        era_of_headers(headers, a_call())

    assert refused.value.code == -32020


def test_a_revision_nobody_knows_is_refused_whatever_the_body_says() -> None:
    with pytest.raises(RpcError) as refused:
        era_of_headers([("mcp-protocol-version", "2027-01-01")], {"method": "ping"})

    assert refused.value.code == -32022


def test_requests_of_the_handshake_era_need_no_headers() -> None:
    assert era_of_headers([], {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) is Era.HANDSHAKE
    assert headers_for({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) == {}
