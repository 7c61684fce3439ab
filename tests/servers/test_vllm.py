"""vLLM as it is started, watched and stopped. vLLM itself is not here: in its place stands a program made by the test, which
speaks HTTP as it does, under the real supervision."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.servers.program import write_program

from conductor.adapters.clock import SystemClock
from conductor.adapters.memory_meter import MachineMemory
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.runners.backend import Limits
from conductor.adapters.servers import starting, vllm
from conductor.adapters.servers.backend import Surroundings, VllmBackend
from conductor.adapters.servers.process import Bounds
from conductor.adapters.servers.runner import ServerRunner
from conductor.domain.errors import InvalidInput, ModelError, NotFound
from conductor.domain.generation import Generation, Message, Role
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.lifetimes.keep import Lifetimes
from conductor.serving.lifetimes.memory_budget import Corrections, memory_need
from conductor.serving.ports import Attention, PlacingBackend
from conductor.serving.registry import Registry

pytestmark = pytest.mark.anyio
PATIENT = Bounds(loading_s=120.0, stalled_s=60.0, grace_s=1.0)
IMPATIENT = Bounds(loading_s=120.0, stalled_s=4.0, grace_s=1.0)
SOON_S = 60.0


def a_model(root: Path, **config: Any) -> Path:
    """A folder of one float32 matrix, which nothing here computes with."""
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [16, 16], "data_offsets": [0, 1024]}})
    root.mkdir()
    told = {
        "model_type": "llama", "max_position_embeddings": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
        "hidden_size": 64, **config,
    }  # fmt: skip
    (root / "config.json").write_text(json.dumps(told))
    (root / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(1024))
    return root


class Stand:
    """A machine on which the program is installed."""

    def __init__(self, tmp_path: Path) -> None:
        self.record = tmp_path / "record.json"
        self.bin = tmp_path / "bin"
        write_program(self.bin, "vllm")
        self.folder = a_model(tmp_path / "model")
        self.model = ModelName(f"vllm:{self.folder}")
        self.tmp_path = tmp_path

    def backend(self, behaviour: str = "", bounds: Bounds = PATIENT, **how: Any) -> VllmBackend:
        environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.defpath}",
            "BEHAVIOUR": behaviour,
            "RECORD": str(self.record),
            "HF_HUB_OFFLINE": "1",
        }
        around = Surroundings(
            environment=environment, hub=HubCache(self.tmp_path / "hub"), estimate=memory_need,
            limits=Limits(threads=1, rows=4, context_tokens=1024), clock=SystemClock(), bounds=bounds,
        )  # fmt: skip
        return VllmBackend(around, **how)

    def told(self) -> Any:
        return json.loads(self.record.read_text())

    async def began(self) -> Any:
        while not self.record.exists():
            await asyncio.sleep(0.01)
        return self.told()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def asks(text: str) -> Generation:
    return Generation(messages=(Message(role=Role.USER, content=text),))


async def text_of(runner: ServerRunner, asked: Generation) -> str:
    return "".join([piece.text async for piece in runner.generate(asked)])


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not true():
            await asyncio.sleep(0.02)


async def test_it_is_started_for_a_model_answers_and_is_gone_with_all_that_it_started(stand: Stand) -> None:
    runner = await stand.backend().load(stand.model, Precision.BF16)
    told = stand.told()
    try:
        assert await text_of(runner, asks("one two three")) == "one two three "
        assert await runner.count_tokens(asks("one two three")) > 0
        assert (runner.facts.backend, runner.facts.model) == ("vllm", stand.model)
        assert runner.facts.memory_bytes > 1_000_000
        assert (runner.facts.constrains, runner.facts.embeds, runner.facts.fills_in) == (True, False, False)
        assert all(map(lives, [told["pid"], *told["children"]]))
        with pytest.raises(InvalidInput, match="embed"):
            await runner.embed(["a"])
        with pytest.raises(InvalidInput, match="fill in"):
            await text_of(runner, Generation(prompt="a", suffix="b"))
    finally:
        await runner.close()

    assert not any(map(lives, [told["pid"], *told["children"]]))
    with pytest.raises(ModelError, match="unloaded"):
        await text_of(runner, asks("more"))


async def test_arguments_and_environment_say_what_was_wanted_and_the_key_is_no_argument(stand: Stand) -> None:
    runner = await stand.backend().load(stand.model, Precision.BF16)
    await runner.close()
    told = stand.told()
    argv = told["argv"]
    options = dict(zip(argv[2::2], argv[3::2], strict=True))

    assert argv[:2] == ["serve", str(stand.folder)]
    assert options["--host"] == "127.0.0.1"
    assert options["--dtype"] == "bfloat16"
    assert options["--max-model-len"] == "1024"
    assert options["--tensor-parallel-size"] == "1"
    assert options["--served-model-name"] == str(stand.folder)
    key = told["environ"]["VLLM_API_KEY"]
    assert len(key) > 30
    assert key not in " ".join(argv)
    assert set(told["environ"]) - {"LC_CTYPE", "PWD", "SHLVL", "_"} == {
        "PATH", "BEHAVIOUR", "RECORD", "HF_HUB_OFFLINE", "VLLM_API_KEY", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK",
        "VLLM_LOGGING_LEVEL",
    }  # fmt: skip


async def test_a_program_that_is_killed_ends_its_generations_at_once_with_the_reason(stand: Stand) -> None:
    runner = await stand.backend().load(stand.model, Precision.BF16)
    children = stand.told()["children"]
    answer = runner.generate(asks("endless"))
    assert (await anext(answer)).text == "endless "

    os.kill(runner.process_id, signal.SIGKILL)

    async with asyncio.timeout(SOON_S):
        with pytest.raises(ModelError, match=r"ended with SIGKILL.*starts it anew"):
            async for _ in answer:
                pass
    with pytest.raises(ModelError, match="SIGKILL"):
        await runner.count_tokens(asks("?"))
    await until(lambda: not any(map(lives, children)))
    await runner.close()


async def test_its_next_user_has_it_loaded_again(stand: Stand) -> None:
    backend, clock = stand.backend(), SystemClock()
    registry = Registry(clock=clock)
    meter = MachineMemory(on_cards=set(), cards="")
    lifetimes = Lifetimes(
        backends=[backend], meter=meter, registry=registry, corrections=Corrections(), clock=clock
    )  # fmt: skip
    row = ServedModel(
        category=Category("chat"), title="M", name=stand.model, memory_bytes=None, stay_loaded=False,
        precision=Precision.BF16,
    )  # fmt: skip
    lifetimes.use_table([row])
    running = asyncio.create_task(lifetimes.run())
    try:
        async with lifetimes.lease(Category("chat")) as runner:
            first = stand.told()["pid"]
            answer = runner.generate(asks("endless"))
            await anext(answer)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(ModelError, match="SIGKILL"):
                async for _ in answer:
                    pass
        async with asyncio.timeout(SOON_S), lifetimes.lease(Category("chat")) as runner:
            assert "".join([piece.text async for piece in runner.generate(asks("back"))]) == "back "
            assert stand.told()["pid"] != first
    finally:
        await lifetimes.close()
        await running
    assert not lives(stand.told()["pid"])


async def test_one_that_hangs_at_the_start_is_ended_and_said_to_hang(stand: Stand) -> None:
    with pytest.raises(ModelError, match=r"vllm hangs.*reading weights 100%") as told:
        await stand.backend("hang", IMPATIENT).load(stand.model, Precision.BF16)

    assert told.value.field == "model"
    assert not any(map(lives, [stand.told()["pid"], *stand.told()["children"]]))


async def test_one_that_takes_too_long_is_ended(stand: Stand) -> None:
    bounds = Bounds(loading_s=2.0, stalled_s=60.0, grace_s=1.0)

    with pytest.raises(ModelError, match=r"did not load .* within 2 s"):
        await stand.backend("hang", bounds).load(stand.model, Precision.BF16)

    assert not (stand.record.exists() and lives(stand.told()["pid"]))


async def test_one_that_leaves_at_the_start_is_quoted_without_its_key(stand: Stand) -> None:
    with pytest.raises(ModelError, match="ended with exit code 3; it said: ERROR: out of luck") as told:
        await stand.backend("leave").load(stand.model, Precision.BF16)

    assert "INFO something" not in told.value.message
    assert stand.told()["environ"]["VLLM_API_KEY"] not in told.value.message
    assert not any(map(lives, stand.told()["children"]))


async def test_where_somebody_has_taken_the_port_another_is_tried(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        ports = iter([taken, starting.unused_port()])
        monkeypatch.setattr(starting, "unused_port", lambda: next(ports))

        runner = await stand.backend().load(stand.model, Precision.BF16)

        try:
            assert await text_of(runner, asks("hi")) == "hi "
            assert str(taken) not in stand.told()["argv"]
        finally:
            await runner.close()


async def test_somebody_else_who_answers_on_the_port_is_not_taken_for_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with other:
        taken = other.sockets[0].getsockname()[1]
        monkeypatch.setattr(starting, "unused_port", lambda: taken)

        with pytest.raises(ModelError, match="hangs"):
            await stand.backend("hang", IMPATIENT).load(stand.model, Precision.BF16)


async def test_one_that_does_not_want_to_end_is_killed_after_the_grace(stand: Stand) -> None:
    runner = await stand.backend("stubborn").load(stand.model, Precision.BF16)

    async with asyncio.timeout(SOON_S):
        await runner.close()

    assert not lives(stand.told()["pid"])


async def test_cancelling_while_it_loads_leaves_nothing_behind(stand: Stand) -> None:
    loading = asyncio.create_task(stand.backend("hang", IMPATIENT).load(stand.model, Precision.BF16))
    told = await stand.began()

    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading

    assert not any(map(lives, [told["pid"], *told["children"]]))


async def test_it_dies_with_the_server(stand: Stand) -> None:
    """Another process loads the model and is killed, as a server that the machine runs out of memory for."""
    code = f"""
import asyncio, sys
sys.path[:0] = {[str(Path(__file__).parents[2]), *sys.path]!r}
from pathlib import Path
from tests.servers.test_vllm import Stand
from conductor.domain.model import Precision
stand = Stand.__new__(Stand)
stand.record, stand.bin = Path({str(stand.record)!r}), Path({str(stand.bin)!r})
stand.tmp_path = Path({str(stand.tmp_path)!r})
async def main():
    runner = await stand.backend().load({stand.model!r}, Precision.BF16)
    print("loaded", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    assert await server.stdout.readline() == b"loaded\n"
    told = stand.told()
    assert lives(told["pid"])

    server.kill()
    await server.wait()

    await until(lambda: not any(map(lives, [told["pid"], *told["children"]])))


async def test_it_dies_with_its_keeper(stand: Stand) -> None:
    runner = await stand.backend().load(stand.model, Precision.BF16)
    keeper = psutil.Process(runner.process_id).parent()
    assert keeper is not None

    keeper.kill()

    try:
        await until(lambda: not lives(stand.told()["pid"]))
        with pytest.raises(ModelError, match="lost its keeper"):
            await text_of(runner, asks("still?"))
        await runner.close()
    finally:
        for left in filter(lives, stand.told()["children"]):
            os.kill(left, signal.SIGKILL)


async def test_what_is_missing_is_told_before_anything_is_started(stand: Stand) -> None:
    backend = stand.backend()
    with pytest.raises(NotFound, match="hf download owner/absent"):
        await backend.need(ModelName("vllm:owner/absent"), Precision.BF16)
    assert (await backend.need(stand.model, Precision.BF16)).overhead_bytes > 0
    (stand.bin / "vllm").unlink()
    with pytest.raises(ModelError, match="not on the PATH") as told:
        await backend.need(stand.model, Precision.BF16)
    assert told.value.details["reason"] == "no_program"


def test_names_that_ask_for_no_program_are_its_business_only_where_it_was_told_so(stand: Stand) -> None:
    for takes, names in ((False, ["vllm:a/b", "vllm:/f"]), (True, ["vllm:a/b", "vllm:/f", "a/b"])):
        backend = stand.backend(takes_unnamed=takes)
        asked = ["vllm:a/b", "vllm:/f", "a/b", "/f", "a/b/c.gguf", "x.gguf", "http://h/v1#m", "llama-server:x.gguf"]
        assert [name for name in asked if backend.can_load(ModelName(name))] == names
    assert isinstance(stand.backend(), PlacingBackend)


async def test_cards_are_named_to_it_and_the_model_is_split_over_them(stand: Stand) -> None:
    runner = await stand.backend().load_on(("cuda:1", "cuda:3"), stand.model, Precision.INT4)
    await runner.close()
    told = stand.told()
    options = dict(zip(told["argv"][2::2], told["argv"][3::2], strict=True))

    assert told["environ"]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert (options["--tensor-parallel-size"], options["--quantization"]) == ("2", "fp8")
    assert (runner.facts.precision, "AWQ" in runner.facts.notes[0]) == (Precision.INT8, True)
    assert "--pipeline-parallel-size" not in options
    assert runner.facts.device == "cuda:1+cuda:3"
    assert runner.facts.memory_bytes == 0


def test_heads_that_cannot_be_shared_out_evenly_are_not_split() -> None:
    heads = Attention(layers=2, heads=8, head_width=8)

    assert vllm.split_over(4, heads) == vllm.Split(tensor=4)
    assert vllm.split_over(3, heads) == vllm.Split(pipeline=3)
    assert vllm.split_over(2, None) == vllm.Split(pipeline=2)


def test_files_that_are_quantised_stay_so_and_that_is_said(tmp_path: Path) -> None:
    own = vllm.own_quantisation(a_model(tmp_path / "awq", quantization_config={"quant_method": "awq"}))

    assert own == "awq"
    assert vllm.rounding(Precision.INT4, own).method == ""
    assert "awq" in vllm.rounding(Precision.INT4, own).notes[0]
    assert vllm.own_quantisation(tmp_path) == ""
    assert vllm.rounding(Precision.INT8, "").method == "fp8"
    assert vllm.rounding(Precision.BF16, "") == vllm.Rounding(precision=Precision.BF16)


def test_it_takes_of_a_card_what_the_model_needs_and_never_all() -> None:
    card = {"cuda:0": 80 * 10**9, "cuda:1": 40 * 10**9}

    assert vllm.memory_share(20 * 10**9, ["cuda:0"], card) == pytest.approx(0.3)
    assert vllm.memory_share(20 * 10**9, ["cuda:0", "cuda:1"], card) == pytest.approx(0.3)
    assert vllm.memory_share(79 * 10**9, ["cuda:0"], card) == 0.92
    assert vllm.memory_share(1, ["cuda:0"], card) == 0.05
    assert vllm.memory_share(1, ["cuda:7"], card) is None
    assert vllm.memory_share(1, [], card) is None
