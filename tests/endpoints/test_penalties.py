"""Penalties are told where they are wanted, and nowhere else: some servers refuse what they do not know."""

import pytest

from conductor.adapters.endpoints.ollama import _request
from conductor.adapters.endpoints.openai_request import request_of
from conductor.adapters.runners.llama_cpp_requests import wishes_of
from conductor.domain.generation import Generation, Message, Role, Sampling

NAMES = {"frequency_penalty", "presence_penalty"}


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        (Sampling(), {}),
        (Sampling(frequency_penalty=0.5, presence_penalty=-1.0), {"frequency_penalty": 0.5, "presence_penalty": -1.0}),
    ],
)
def test_penalties_are_told_where_they_are_wanted(sampling: Sampling, told: dict[str, float]) -> None:
    asked = Generation(messages=(Message(role=Role.USER, content="x"),), sampling=sampling)
    openai, ollama = request_of(asked, "m")[1], _request(asked, "m")[1]["options"]

    assert {name: openai[name] for name in NAMES & openai.keys()} == told
    assert {name: ollama[name] for name in NAMES & ollama.keys()} == told


def test_llama_cpp_looks_back_where_there_is_a_penalty() -> None:
    assert wishes_of(Sampling())["repeat_last_n"] == 0
    assert wishes_of(Sampling(presence_penalty=1.0))["repeat_last_n"] > 100_000
