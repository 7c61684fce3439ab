import pytest

from conductor.adapters.mind_llama.model import OwnMind


@pytest.fixture(scope="session")
def mind() -> OwnMind:
    return OwnMind()
