"""Endpoints are told the trace that they are asked for, so that their logs can be put beside ours."""

import pytest
from tests.endpoints.server import Upstream, answers

from conductor.adapters.endpoints.client import EndpointClient
from conductor.app.tracing import traced

pytestmark = pytest.mark.anyio


async def test_what_is_asked_within_a_trace_says_so_and_nothing_else_does(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers["/v1/models"] = answers({"data": []})

    with traced(None) as traceparent:
        await client.document(upstream.origin, "GET", f"{upstream.base}/models")
    await client.document(upstream.origin, "GET", f"{upstream.base}/models")

    (_, _, within, _), (_, _, outside, _) = upstream.asked
    assert within["traceparent"] == traceparent
    assert "traceparent" not in outside
