"""Beginnings that are read ahead: by an engine on torch, step by step, and through a real engine process."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `hf` is not installed")
pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from tests.runners.conftest import write_folder
from tests.runners.test_process import backend, written

from conductor.adapters.runners.transformers_engine import TransformersEngine
from conductor.domain.errors import ConductorError, InvalidInput
from conductor.domain.generation import Generation, Message, Piece, Role, Sampling, Usage
from conductor.domain.model import ModelName, Precision
from conductor.serving.ports import Warmed

PERSONA = "You are patient like the sea, and you know all rivers. " * 12
SYSTEM = (Message(role=Role.SYSTEM, content=PERSONA),)


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("long-llama"), context=2_048)


@pytest.fixture
def engine(long_folder: Path) -> TransformersEngine:
    return TransformersEngine(
        long_folder, name="tiny", precision=Precision.FP32, available_bytes=64 << 30, threads=1, most_rows=4,
        most_context_tokens=None, measure_bytes=lambda: 1,
    )  # fmt: skip


def asked(said: str, *, tokens: int = 8) -> Generation:
    turns = (*SYSTEM, Message(role=Role.USER, content=said))
    return Generation(messages=turns, sampling=Sampling(max_tokens=tokens, temperature=0))


class Told:
    def __init__(self) -> None:
        self.became: list[Warmed | ConductorError] = []
        self.pieces: dict[int, list[Piece]] = defaultdict(list)

    def emit(self, number: int) -> Any:
        return self.pieces[number].append

    def usage(self, number: int) -> Usage:
        usage = self.pieces[number][-1].usage
        assert usage is not None
        return usage


def finish(engine: TransformersEngine) -> None:
    while engine.has_work:
        engine.step()


def test_the_first_request_finds_its_beginning_read_and_its_answer_is_the_same(engine: TransformersEngine) -> None:
    told = Told()
    engine.warm(1, SYSTEM, told.became.append)
    finish(engine)
    (warmed,) = told.became
    assert isinstance(warmed, Warmed)
    assert warmed.known == 0
    assert warmed.ready == warmed.tokens > 200
    engine.begin(2, asked("Which river?"), told.emit(2))
    finish(engine)

    assert told.usage(2).cached_tokens == warmed.tokens
    cold = Told()
    for row in range(4):  # over everything that was read
        engine.begin(
            3 + row, Generation(prompt=f"{row} def " * 300, sampling=Sampling(max_tokens=1)), cold.emit(3 + row)
        )
    finish(engine)
    engine.begin(9, asked("Which river?"), cold.emit(9))
    finish(engine)
    assert cold.usage(9).cached_tokens < 20
    assert "".join(p.text for p in cold.pieces[9]) == "".join(p.text for p in told.pieces[2])


def test_what_was_read_already_is_not_computed_again(engine: TransformersEngine) -> None:
    told = Told()
    engine.begin(1, asked("Which river?"), told.emit(1))
    finish(engine)
    engine.warm(2, SYSTEM, told.became.append)

    assert not engine.has_work
    (warmed,) = told.became
    assert isinstance(warmed, Warmed)
    assert warmed.known == warmed.ready == warmed.tokens


def test_a_request_goes_first_and_takes_over_what_was_read_of_its_beginning(engine: TransformersEngine) -> None:
    told = Told()
    engine.warm(1, SYSTEM, told.became.append)
    engine.step()
    assert not told.became
    engine.begin(2, asked("Which river?"), told.emit(2))

    (dropped,) = told.became
    assert isinstance(dropped, Warmed)
    assert 0 < dropped.ready < dropped.tokens
    finish(engine)
    assert told.usage(2).cached_tokens == dropped.ready
    assert len(told.became) == 1


def test_nothing_is_read_ahead_while_somebody_waits(engine: TransformersEngine) -> None:
    told = Told()
    engine.begin(1, asked("Which river?"), told.emit(1))
    engine.warm(2, SYSTEM, told.became.append)

    assert told.became == [Warmed(told.became[0].tokens, 0, 0)]  # type: ignore[union-attr]  # said by the comparison
    finish(engine)


def test_a_cancelled_beginning_leaves_the_engine_idle(engine: TransformersEngine) -> None:
    told = Told()
    engine.warm(1, SYSTEM, told.became.append)
    engine.step()
    engine.cancel(1)

    assert not engine.has_work
    engine.begin(2, asked("Which river?"), told.emit(2))
    finish(engine)
    assert told.usage(2).completion_tokens > 0


def test_a_beginning_beyond_the_context_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(InvalidInput):
        engine.warm(1, (Message(role=Role.SYSTEM, content=PERSONA * 20),), lambda _: None)
    assert not engine.has_work


@pytest.mark.anyio
async def test_an_engine_process_reads_ahead_and_says_so(long_folder: Path, tmp_path: Path) -> None:
    runner = await backend(tmp_path).load(ModelName(str(long_folder)), Precision.FP32)
    try:
        warmed = await runner.warm(SYSTEM)
        assert warmed.ready == warmed.tokens > 200
        _, last = await written(runner, asked("Which river?"))
        assert last.usage is not None
        assert last.usage.cached_tokens == warmed.tokens
        assert await runner.warm(SYSTEM) == Warmed(warmed.tokens, warmed.tokens, warmed.tokens)
        with pytest.raises(InvalidInput):
            await runner.warm((Message(role=Role.SYSTEM, content=PERSONA * 20),))
    finally:
        await runner.close()


def test_several_beginnings_stay_and_none_takes_the_place_of_another(engine: TransformersEngine) -> None:
    told, others = Told(), [f"You are number {number}, and patient like the sea. " * 6 for number in range(3)]
    for number, text in enumerate(others):
        engine.warm(number, (Message(role=Role.SYSTEM, content=text),), told.became.append)
        finish(engine)
    for number, text in enumerate(others, start=10):
        turns = (Message(role=Role.SYSTEM, content=text), Message(role=Role.USER, content="Which river?"))
        engine.begin(number, Generation(messages=turns, sampling=Sampling(max_tokens=2)), told.emit(number))
        finish(engine)

    for number, became in enumerate(told.became, start=10):
        assert isinstance(became, Warmed)
        assert told.usage(number).cached_tokens == became.tokens


def test_a_conversation_with_the_same_beginning_does_not_cost_another_one_what_it_has_read(
    engine: TransformersEngine,
) -> None:
    told = Told()
    long = "The river runs to the sea, and the sea is patient with rivers. " * 6
    for number, said in enumerate((f"One: {long}", f"Two: {long}", f"One: {long}")):
        engine.begin(number, asked(said, tokens=2), told.emit(number))
        finish(engine)

    assert told.usage(1).cached_tokens < told.usage(1).prompt_tokens - 20
    assert told.usage(2).cached_tokens == told.usage(2).prompt_tokens - 1
