"""Engine processes: real ones, with a small model, killed, cancelled, left alone and fed with nonsense."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("torch", reason="the extra `hf` is not installed")
pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from conductor.adapters.clock import SystemClock
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.runners.backend import Limits, LlamaCppBackend, TransformersBackend
from conductor.adapters.runners.process import EngineCommand, ProcessRunner
from conductor.domain.errors import InvalidInput, ModelError, NotFound
from conductor.domain.generation import Finish, Generation, Message, Piece, Role, Sampling
from conductor.domain.model import ModelName, Precision
from conductor.serving.ports import MemoryNeed

pytestmark = pytest.mark.anyio
SOURCE = Path(__file__).parents[2] / "src"
NEED = MemoryNeed(weights_bytes=1, context_bytes=2, overhead_bytes=3)


def command(*program: str, **how: Any) -> EngineCommand:
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(SOURCE),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return EngineCommand(
        program=program or (sys.executable, "-P", "-m", "conductor.app.serving.engine_process"),
        environment=environment,
        **how,
    )


def backend(tmp_path: Path, started: EngineCommand | None = None) -> TransformersBackend:
    return TransformersBackend(
        command=started or command(),
        hub=HubCache(tmp_path),
        need_of=lambda _path, _precision: NEED,
        limits=Limits(threads=1, rows=4),
        clock=SystemClock(),
        accelerator=False,
        bitsandbytes=False,
    )


@pytest.fixture
async def runner(folder: Path, tmp_path: Path) -> AsyncIterator[ProcessRunner]:
    loaded = await backend(tmp_path).load(ModelName(str(folder)), Precision.FP32)
    try:
        yield loaded
    finally:
        await loaded.close()
        assert not psutil.pid_exists(loaded.process_id)


def greedy(prompt: str, tokens: int | None = 20) -> Generation:
    return Generation(prompt=prompt, sampling=Sampling(max_tokens=tokens, temperature=0))


async def written(runner: ProcessRunner, asked: Generation) -> tuple[str, Piece]:
    text, last = "", Piece()
    async for piece in runner.generate(asked):
        text, last = text + piece.text, piece
    return text, last


async def drained(answer: AsyncGenerator[Piece, None]) -> None:
    async for _ in answer:
        pass


async def test_a_loaded_model_says_what_it_is_and_answers_several_at_a_time(
    runner: ProcessRunner, folder: Path
) -> None:
    alone = [await written(runner, greedy(prompt)) for prompt in ("The river", "tags", "def")]
    together = await asyncio.gather(*[written(runner, greedy(prompt)) for prompt in ("The river", "tags", "def")])

    assert [text for text, _ in together] == [text for text, _ in alone]
    assert together[0][1].finish is Finish.LENGTH
    assert runner.facts.model == str(folder)
    assert (runner.facts.backend, runner.facts.device, runner.facts.context_tokens) == ("transformers", "cpu", 512)
    assert runner.facts.memory_bytes > 50_000_000
    turns = Generation(messages=(Message(role=Role.USER, content="The river"),))
    assert await runner.count_tokens(turns) > await runner.count_tokens(greedy("The river"))
    vectors, usage = await runner.embed(["a", "b"])
    assert (len(vectors), usage.completion_tokens) == (2, 0)
    assert runner.facts.notes == ()


async def test_what_differs_from_what_was_asked_is_among_the_facts(folder: Path, tmp_path: Path) -> None:
    loaded = await backend(tmp_path).load(ModelName(str(folder)), Precision.FP16)
    await loaded.close()

    assert loaded.facts.precision is Precision.BF16
    assert loaded.facts.notes == loaded.notes
    assert "FP16 is computed as BF16" in " ".join(loaded.facts.notes)


async def test_what_cannot_be_asked_is_refused_and_the_engine_lives_on(runner: ProcessRunner) -> None:
    with pytest.raises(InvalidInput) as refused:
        await written(runner, greedy("The river " * 300))
    assert refused.value.field == "prompt"
    with pytest.raises(InvalidInput):
        await runner.embed(["The river " * 300])
    assert (await written(runner, greedy("The river")))[0]


async def test_two_hundred_callers_that_go_away_leave_nothing_behind(runner: ProcessRunner) -> None:
    rng = random.Random(2)
    process = psutil.Process(runner.process_id)

    async def leave_after(pieces: int) -> None:
        async with aclosing(runner.generate(greedy("The river runs to the sea", None))) as answer:
            async for _ in answer:
                pieces -= 1
                if pieces <= 0:
                    return

    async def leave_fifty() -> None:
        for _ in range(10):
            await asyncio.gather(*[leave_after(rng.randint(0, 6)) for _ in range(5)])

    await leave_fifty()
    before = process.memory_info().rss
    for _ in range(3):
        await leave_fifty()
    await written(runner, greedy("A", 3))

    assert runner._open == {}
    assert process.memory_info().rss - before < 30_000_000


async def test_a_caller_that_does_not_read_gets_everything_later(runner: ProcessRunner) -> None:
    whole = (await written(runner, greedy("The river", 60)))[0]
    answer = runner.generate(greedy("The river", 60))
    first = await anext(answer)
    await written(runner, greedy("tags", 200))  # meanwhile
    rest = [piece async for piece in answer]

    assert first.text + "".join(piece.text for piece in rest) == whole
    assert len(rest) < 30


async def test_a_killed_engine_ends_its_generations_with_an_error(runner: ProcessRunner) -> None:
    answer = runner.generate(greedy("The river", None))
    await anext(answer)
    os.kill(runner.process_id, signal.SIGKILL)
    with pytest.raises(ModelError, match="SIGKILL"):
        await drained(answer)
    with pytest.raises(ModelError, match="SIGKILL"):
        await written(runner, greedy("The river"))


async def test_closing_ends_generations_under_way(runner: ProcessRunner) -> None:
    answer = runner.generate(greedy("The river", None))
    await anext(answer)
    await runner.close()
    with pytest.raises(ModelError, match="unloaded"):
        await drained(answer)


async def test_the_engine_does_not_outlive_a_server_that_is_killed(folder: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(folder)],
        stdout=subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": f"{SOURCE}{os.pathsep}{SOURCE.parent}"},
    )
    assert server.stdout is not None
    engine = psutil.Process(int(server.stdout.readline()))
    server.kill()
    server.wait()
    server.stdout.close()

    engine.wait(20)


_SERVER = """
import asyncio, sys
from pathlib import Path
from conductor.domain.model import Precision
from tests.runners.test_process import backend, greedy
async def main():
    runner = await backend(Path("/nonexistent")).load(sys.argv[1], Precision.FP32)
    print(runner.process_id, flush=True)
    while True:
        async for _ in runner.generate(greedy("The river", None)):
            pass
asyncio.run(main())
"""


async def test_cancelling_a_load_leaves_no_process(folder: Path, tmp_path: Path) -> None:
    mine = psutil.Process()
    before = {child.pid for child in mine.children()}
    loading = asyncio.create_task(backend(tmp_path).load(ModelName(str(folder)), Precision.FP32))
    while not {child.pid for child in mine.children()} - before:
        await asyncio.sleep(0.01)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading

    assert {child.pid for child in mine.children()} <= before


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("print('hello there')", "ended with exit code 0"),
        ("import sys; sys.stdout.buffer.write(bytes([0, 0, 0, 2]) + b'[]')", "ended with exit code 0"),
        ("import sys; sys.stdout.buffer.write(bytes([0, 0, 0, 2]) + b'{}')", "nonsense"),
        ("import sys; sys.exit('no room at all')", "no room at all"),
        ("input()", "not loaded within"),
    ],
)
async def test_an_engine_that_talks_nonsense_is_ended(folder: Path, tmp_path: Path, said: str, complaint: str) -> None:
    broken = backend(tmp_path, command(sys.executable, "-c", said, loading_s=2))
    with pytest.raises(ModelError, match=complaint):
        await broken.load(ModelName(str(folder)), Precision.FP32)


async def test_a_gguf_file_is_served_by_the_same_kind_of_process(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra `gguf` is not installed")
    from tests.minds.test_gguf import write_llama

    path = tmp_path / "tiny.gguf"
    write_llama(path, "F32")
    runner = await llama(tmp_path).load(ModelName(str(path)), Precision.INT8)
    try:
        for _ in range(30):
            async with aclosing(runner.generate(greedy("the work", None))) as answer:
                await anext(answer)
        assert (await written(runner, greedy("the work", 5)))[1].finish is Finish.LENGTH
        with pytest.raises(InvalidInput):
            await written(runner, greedy("the work " * 2_000))
        assert len((await runner.embed(["a", "b"]))[0]) == 2
        os.kill(runner.process_id, signal.SIGKILL)
        with pytest.raises(ModelError, match="SIGKILL"):
            await written(runner, greedy("the work"))
    finally:
        await runner.close()


def llama(tmp_path: Path) -> LlamaCppBackend:
    return LlamaCppBackend(
        command=command(),
        hub=HubCache(tmp_path),
        need_of=lambda _path, _precision: NEED,
        limits=Limits(threads=1, rows=4),
        clock=SystemClock(),
    )


async def test_names_and_needs(folder: Path, tmp_path: Path) -> None:
    transformers = backend(tmp_path)
    names = ["owner/name", "/models/x", "./x.gguf", "owner/name/x.Q4.gguf", "http://host/v1#m", "ollama://host#m", "x"]

    assert [transformers.can_load(ModelName(name)) for name in names] == [True, True, False, False, False, False, False]
    assert [llama(tmp_path).can_load(ModelName(name)) for name in names] == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert await transformers.need(ModelName(str(folder)), Precision.INT4) == NEED
    with pytest.raises(NotFound, match="hf download owner/name"):
        await transformers.need(ModelName("owner/name"), Precision.FP32)
    with pytest.raises(NotFound, match="check the path"):
        await transformers.load(ModelName("/nowhere/at/all"), Precision.FP32)
