"""Penalties of frequency and presence: score - count * frequency - (count > 0) * presence, as the OpenAI API has it."""

import pytest

from conductor.adapters.runners.choosing_tokens import Chooser
from conductor.domain.generation import Sampling

PROMPT = (0, 0, 0)


def chosen(scores: list[float], count: int, **wishes: float) -> list[int]:
    """The likeliest tokens, one after the other, of a model that always scores alike."""
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    chooser = Chooser(torch, Sampling(temperature=0, **wishes), decode=lambda ids: str(ids), grammar=None)  # type: ignore[arg-type]
    assert chooser.is_plain is not any(wishes.values())
    return [chooser.choose(torch.tensor(scores), PROMPT)[0] for _ in range(count)]


def test_each_use_costs_the_frequency_penalty() -> None:
    assert chosen([3.0, 2.5, 0.0], 5, frequency_penalty=1.0) == [0, 1, 0, 1, 0]


def test_the_first_use_costs_the_presence_penalty_and_no_later_one() -> None:
    assert chosen([3.0, 2.5, 0.0], 5, presence_penalty=1.0) == [0, 1, 0, 0, 0]


def test_a_negative_penalty_rewards() -> None:
    assert chosen([3.0, 2.9], 3, frequency_penalty=-1.0) == [0, 0, 0]


def test_without_penalties_the_likeliest_token_always_comes() -> None:
    assert chosen([3.0, 2.9], 3) == [0, 0, 0]
