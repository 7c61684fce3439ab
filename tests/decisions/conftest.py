"""What the tests of this room share: a clock that stands, a fleet that answers, an encoder that really encodes."""

import pytest
from tests.decisions.arrangement import HashingEncoder, StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(scope="session")
def encoder() -> HashingEncoder:
    return HashingEncoder()
