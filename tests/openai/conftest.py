"""The API on a real socket, over models that are test equipment, in the loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from tests.openai.scripted import KeywordReader, Script, ScriptedDesk, Table

from conductor.adapters.clock import SystemClock
from conductor.adapters.document_folder import DocumentFolder
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.relay import Relay
from conductor.app.serving.batch import BatchBounds
from conductor.app.serving.batches import Batches
from conductor.app.serving.calls import CallJournal
from conductor.app.serving.files import FileBounds, ServingFiles
from conductor.app.serving.gateway import Gateway
from conductor.app.serving.serve import Serving
from conductor.faces.http import contract, generate, problems
from conductor.faces.http.openai import routes
from conductor.serving.engines.code_completion import CodeCompletion
from conductor.serving.engines.conversational_chat import ConversationalChat
from conductor.serving.engines.general_reasoning import GeneralReasoning
from conductor.serving.engines.translation import Translation
from conductor.serving.registry import Registry
from conductor.serving.traffic.accounting import Accounting
from conductor.serving.traffic.limits import Allowance, Limits
from openai import AsyncOpenAI


@dataclass
class Live:
    """A server under way."""

    script: Script
    serving: Serving
    journal: CallJournal
    files: ServingFiles
    batches: Batches
    folder: Path
    registry: Registry
    table: Table
    url: str = ""
    client: AsyncOpenAI = field(init=False)


def build(folder: Path, script: Script) -> Live:
    clock, ids = SystemClock(), count(1)
    desk, table = ScriptedDesk(script), Table()
    engines = [kind(desk) for kind in (ConversationalChat, GeneralReasoning, Translation, CodeCompletion)]
    journal, registry = CallJournal(), Registry(clock=clock)
    serving = Serving(
        desk=desk,
        engines={engine.category: engine for engine in engines},
        table=table,
        registry=registry,
        reader=KeywordReader(),
        clock=clock,
        new_id=lambda: f"{next(ids):08}",
        journal=journal,
    )
    files = ServingFiles(
        DocumentFolder(folder / "files"),
        clock=clock,
        new_id=lambda: f"f{folder.stat().st_ino}x{next(ids)}",
        bounds=FileBounds(largest_bytes=100_000, total_bytes=150_000),
    )
    batches = Batches(
        DocumentFolder(folder / "batches"),
        files,
        clock=clock,
        new_id=lambda: f"b{next(ids)}",
        bounds=BatchBounds(lines=100, retry_s=0.001),
    )
    return Live(script, serving, journal, files, batches, folder, registry, table=table)


def _nothing_elsewhere() -> Gateway:
    relay = Relay(EndpointClient(keys=lambda origin: None))
    return Gateway(relay, models={}, limits=Limits(Allowance()), accounting=Accounting(), clock=SystemClock())


def mounted(live: Live) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.include_router(generate.routes(live.serving, _nothing_elsewhere()))
    for router in routes.routes(live.serving, live.files, live.batches):
        app.include_router(router)
    contract.install(app)
    return app


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def live(anyio_backend: str, tmp_path: Path, script: Script) -> AsyncIterator[Live]:
    live = build(tmp_path, script)
    await live.files.recover()
    await live.batches.recover()
    config = uvicorn.Config(mounted(live), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        live.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        working = asyncio.create_task(live.batches.run())
        telling = asyncio.create_task(live.journal.run())
        while not server.started:
            await asyncio.sleep(0.01)
        live.client = AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=30)
        async with live.client:
            yield live
        server.should_exit = True
        await serving
        working.cancel()
        live.journal.close()
        await asyncio.gather(working, telling, return_exceptions=True)
