"""What the tests of engines share."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
