"""Snapshots, tasks and decisions for the tests of this folder."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
