"""Beginnings that llama.cpp reads ahead: found by the first request, one slot each, behind whoever asks."""

import queue
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the package `gguf`, which writes the test's models, is not installed")
pytest.importorskip("xllamacpp", reason="the extra `gguf` is not installed")

from tests.minds.test_gguf import write_llama
from tests.runners.test_llama_cpp_engine import LIMIT_S, Hearing, loaded

from conductor.adapters.runners.llama_cpp_engine import LlamaCppEngine
from conductor.domain.errors import ConductorError, InvalidInput
from conductor.domain.generation import Generation, Message, Role, Sampling, Usage
from conductor.serving.ports import Warmed

PERSONA = "The river runs to the sea, and the sea is patient. " * 2
OTHER = "Code is read more often than it is written, so write it to be read. " * 2


@pytest.fixture
def engine(tmp_path: Path) -> LlamaCppEngine:
    path = tmp_path / "tiny.gguf"
    write_llama(path, "F32")
    return loaded(path)


def system(text: str) -> tuple[Message, ...]:
    return (Message(role=Role.SYSTEM, content=text),)


def asked(text: str, said: str) -> Generation:
    turns = (*system(text), Message(role=Role.USER, content=said))
    return Generation(messages=turns, sampling=Sampling(max_tokens=4, temperature=0))


def warmed(engine: LlamaCppEngine, number: int, text: str) -> Any:
    told: queue.Queue[Warmed | ConductorError] = queue.Queue()
    engine.warm(number, system(text), told.put)
    return told.get(timeout=LIMIT_S)


def usage_of(engine: LlamaCppEngine, number: int, generation: Generation) -> Usage:
    usage = Hearing(engine, number, generation).pieces()[-1].usage
    engine.ended(number)
    assert usage is not None
    return usage


def test_the_first_request_of_each_kind_finds_its_beginning_read(engine: LlamaCppEngine) -> None:
    for number, text in ((1, PERSONA), (2, OTHER)):
        got = warmed(engine, number, text)
        assert got.known == 0
        assert got.ready == got.tokens > 64
    sizes = []
    for number, text in ((3, PERSONA), (4, OTHER)):
        again = warmed(engine, number, text)
        assert again.known == again.tokens
        sizes.append(again.tokens)

    usages = [
        usage_of(engine, number, asked(text, said))
        for number, text, said in ((5, PERSONA, "Which river?"), (6, OTHER, "Which code?"))
    ]
    for usage, size in zip(usages, sizes, strict=True):
        assert usage.cached_tokens >= size - 1


def test_what_is_asked_meanwhile_goes_first(engine: LlamaCppEngine) -> None:
    told: queue.Queue[Warmed | ConductorError] = queue.Queue()
    engine.warm(1, system(PERSONA * 3), told.put)
    hearing = Hearing(engine, 2, asked(PERSONA, "Which river?"))

    assert hearing.pieces()[-1].usage is not None
    became = told.get(timeout=LIMIT_S)
    assert isinstance(became, Warmed)
    assert became.ready < became.tokens


def test_a_beginning_beyond_the_context_is_refused_and_the_engine_lives_on(engine: LlamaCppEngine) -> None:
    assert isinstance(warmed(engine, 1, PERSONA * 40), InvalidInput)
    assert usage_of(engine, 2, asked(PERSONA, "Which river?")).completion_tokens > 0
