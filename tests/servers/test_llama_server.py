"""llama.cpp's server as a program that is started, watched and stopped, with a small random model in it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests.servers.llama_program import find_llama_server

gguf = pytest.importorskip("gguf", reason="the package `gguf`, which writes the test's models, is not installed")
pytest.importorskip("xllamacpp", reason="the extra `gguf` is not installed")

from tests.minds.test_gguf import write_llama  # noqa: E402

from conductor.adapters.clock import SystemClock  # noqa: E402
from conductor.adapters.minds.hub_cache import HubCache  # noqa: E402
from conductor.adapters.runners.backend import Limits  # noqa: E402
from conductor.adapters.servers.backend import LlamaServerBackend, Surroundings  # noqa: E402
from conductor.adapters.servers.process import Bounds  # noqa: E402
from conductor.adapters.servers.runner import ServerRunner  # noqa: E402
from conductor.domain.errors import InvalidInput, ModelError  # noqa: E402
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling  # noqa: E402
from conductor.domain.model import ModelName, Precision  # noqa: E402
from conductor.serving.lifetimes.memory_budget import memory_need  # noqa: E402

pytestmark = pytest.mark.anyio
LIMIT_S = 120.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_llama(tmp_path / "tiny.gguf", "F32")
    return tmp_path / "tiny.gguf"


@pytest.fixture
def backend(tmp_path: Path) -> LlamaServerBackend:
    found = find_llama_server(tmp_path / "bin")
    if found is None:
        pytest.skip("neither llama-server nor xllamacpp, which packages llama.cpp's server, is installed")
    around = Surroundings(
        environment={"PATH": f"{found[0].parent}{os.pathsep}{os.defpath}"}, hub=HubCache(tmp_path / "hub"),
        estimate=memory_need, limits=Limits(threads=1, rows=4, context_tokens=1024), clock=SystemClock(),
        bounds=Bounds(loading_s=LIMIT_S),
    )  # fmt: skip
    return LlamaServerBackend(around)


@pytest.fixture
async def runner(backend: LlamaServerBackend, path: Path) -> AsyncIterator[ServerRunner]:
    loaded = await backend.load(ModelName(f"llama-server:{path}"), Precision.FP16)
    try:
        yield loaded
    finally:
        await loaded.close()
        assert not psutil.pid_exists(loaded.process_id)


def asks(text: str, **sampling: object) -> Generation:
    how = Sampling(**{"max_tokens": 12, "temperature": 0.0, **sampling})  # type: ignore[arg-type]
    return Generation(messages=(Message(role=Role.USER, content=text),), sampling=how)


async def written(runner: ServerRunner, asked: Generation) -> tuple[str, Piece]:
    text, last = "", Piece()
    async for piece in runner.generate(asked):
        text, last = text + piece.text, piece
    return text, last


async def test_it_says_what_it_is_and_answers_several_at_a_time(runner: ServerRunner, path: Path) -> None:
    alone = [(await written(runner, asks(text)))[0] for text in ("the work", "training", "GPU device")]
    together = await asyncio.gather(*[written(runner, asks(text)) for text in ("the work", "training", "GPU device")])

    assert [text for text, _ in together] == alone
    last = together[0][1]
    assert last.finish is Finish.LENGTH
    assert last.usage is not None
    assert last.usage.completion_tokens == 12
    assert await runner.count_tokens(asks("the work")) == last.usage.prompt_tokens
    facts = runner.facts
    assert (facts.backend, facts.model, facts.context_tokens) == ("llama-server", f"llama-server:{path}", 1024)
    assert (facts.constrains, facts.embeds) == (True, True)
    assert facts.memory_bytes > 1_000_000
    vectors, usage = await runner.embed(["the work", "a"])
    assert [sum(each * each for each in vector) for vector in vectors] == pytest.approx([1.0, 1.0])
    assert usage.prompt_tokens > 0


async def test_an_answer_in_a_form_is_of_that_form(runner: ServerRunner) -> None:
    form = {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["kind", "n"],
        "additionalProperties": False,
    }
    turns = (Message(role=Role.USER, content="hi"),)
    for seed in range(3):
        how = Sampling(max_tokens=200, temperature=1.0, seed=seed)
        answer = json.loads((await written(runner, Generation(messages=turns, form=form, sampling=how)))[0])
        assert answer["kind"] in ("a", "b")
        assert answer["n"] in range(10)
    with pytest.raises(InvalidInput, match="send messages"):
        await written(runner, Generation(prompt="hi", form=form))


async def test_a_prompt_beyond_the_context_is_refused_and_it_lives_on(runner: ServerRunner) -> None:
    with pytest.raises(InvalidInput, match="context"):
        await written(runner, asks("the work " * 900))
    assert (await written(runner, asks("the work")))[1].finish is Finish.LENGTH


async def test_killed_in_the_middle_of_an_answer_it_says_so(runner: ServerRunner) -> None:
    answer = runner.generate(asks("the work", max_tokens=None, temperature=1.0))
    await anext(answer)

    os.kill(runner.process_id, signal.SIGKILL)

    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(ModelError, match="SIGKILL"):
            async for _ in answer:
                pass


async def test_a_file_that_it_cannot_load_is_told_with_its_words(backend: LlamaServerBackend, path: Path) -> None:
    whole = path.read_bytes().replace(b"token_embd.weight", b"token_embd.wright")
    path.write_bytes(whole)

    with pytest.raises(ModelError, match=r"ended with exit code 1; it said: .*") as told:
        await backend.load(ModelName(f"llama-server:{path}"), Precision.FP16)

    assert "load" in told.value.message


async def test_a_gap_is_filled_where_the_model_has_marks_for_it(
    backend: LlamaServerBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithMarks(gguf.GGUFWriter):  # type: ignore[misc, name-defined]
        def add_eos_token_id(self, token: int) -> None:
            super().add_eos_token_id(token)
            for mark, number in (("pre", 10), ("suf", 11), ("mid", 12)):
                self.add_uint32(f"tokenizer.ggml.fim_{mark}_token_id", number)

    without = await backend.load(ModelName(f"llama-server:{path}"), Precision.FP16)
    await without.close()
    monkeypatch.setattr(gguf, "GGUFWriter", WithMarks)
    write_llama(path, "F32")
    runner = await backend.load(ModelName(f"llama-server:{path}"), Precision.FP16)
    try:
        gap = Generation(prompt="the ", suffix=" device", sampling=Sampling(max_tokens=6, temperature=0.0))
        text, last = await written(runner, gap)
    finally:
        await runner.close()

    assert not without.facts.fills_in
    assert runner.facts.fills_in
    assert text
    assert last.usage is not None
    assert last.usage.completion_tokens == 6
    with pytest.raises(ModelError, match="unloaded"):
        await written(runner, gap)
