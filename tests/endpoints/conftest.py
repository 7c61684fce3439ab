"""A real server on a free port of the loopback address, whose behaviour each test chooses."""

from collections.abc import AsyncIterator

import pytest
from tests.endpoints.server import Upstream

from conductor.adapters.endpoints.client import EndpointClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def upstream(anyio_backend: str) -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[EndpointClient]:
    client = EndpointClient(keys=lambda _origin: "sk-secret-key", connect_s=2.0, silence_s=1.0)
    yield client
    await client.close()
