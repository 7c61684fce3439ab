"""The backends of models that run in server programs of others: which names are theirs, what they will take, starting them.

`llama-server:FILE.gguf` and `vllm:OWNER/NAME` (or a folder) ask for a program; a name without such a beginning is taken
where `takes_unnamed` says so. The files lie where those of our own engines do, and nothing is fetched.
"""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.model_headers.folder import read_model
from conductor.adapters.runners.backend import Limits, only_these, path_of
from conductor.adapters.servers import llama_server, vllm
from conductor.adapters.servers.process import Bounds, ServerProcess
from conductor.adapters.servers.runner import LlamaServerRunner, ServerRunner, embeds
from conductor.adapters.servers.starting import Launch, start
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError
from conductor.domain.model import ModelName, Precision
from conductor.domain.server_program import ServerProgram, fitting_program, split_program
from conductor.serving.ports import MemoryNeed, ModelHeader, NeedEstimate, RunnerFacts

_ASSUMED_CONTEXT_TOKENS: Final = 8192

#: How each program is come by; for people, and what to type where one command does it.
REMEDIES: Final[Mapping[ServerProgram, str]] = {
    ServerProgram.LLAMA_SERVER: "install llama.cpp from your system's packages, or unpack a release of it onto the PATH",
    ServerProgram.VLLM: "install vLLM in an environment of its own and put its `vllm` on the PATH",
}
INSTALLS: Final[Mapping[ServerProgram, str]] = {
    ServerProgram.LLAMA_SERVER: "brew install llama.cpp",
    ServerProgram.VLLM: "uv tool install vllm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all server programs share.

    Args:
        environment: all that they see, with the PATH that they are looked for on; without secrets.
        hub: where fetched models lie.
        estimate: the arithmetic of memory.
        card_bytes: memory that each graphics card has in all, by device (`cuda:0`); missing where nobody knows.
    """

    environment: Mapping[str, str]
    hub: HubCache
    estimate: NeedEstimate
    limits: Limits
    clock: Clock
    bounds: Bounds = field(default_factory=Bounds)
    card_bytes: Callable[[], Mapping[str, int]] = dict


def find_program(program: ServerProgram, environment: Mapping[str, str]) -> Path | None:
    """Where a program is; None where it is not on the PATH. Blocking."""
    found = shutil.which(program.value, path=environment.get("PATH"))
    return None if found is None else Path(found)


class _ProgramBackend:
    """What both have in common.

    Args:
        takes_unnamed: whether names that ask for no program are its business too.
    """

    program: ClassVar[ServerProgram]

    def __init__(self, around: Surroundings, *, takes_unnamed: bool = False) -> None:
        self._around = around
        self._takes_unnamed = takes_unnamed

    @property
    def name(self) -> str:
        """The program's."""
        return self.program.value

    def can_load(self, model: ModelName) -> bool:
        """Names that ask for the program, and where it takes them those that ask for none."""
        program, rest = split_program(model)
        return program is self.program or (
            self._takes_unnamed and program is None and fitting_program(rest) is self.program
        )

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        """As `Backend.need`; also `ModelError` where the program is not installed."""
        await asyncio.to_thread(self._executable)
        header = await asyncio.to_thread(self._header, model)
        return self._estimated(header, precision)

    def _estimated(self, header: ModelHeader, precision: Precision) -> MemoryNeed:
        return self._around.estimate(
            header, precision, backend=self.name, most_context_tokens=self._around.limits.context_tokens
        )

    def _executable(self) -> str:
        found = find_program(self.program, self._around.environment)
        if found is None:
            raise ModelError(
                f"{self.name} is not on the PATH; {REMEDIES[self.program]}, then load the model again",
                field="model",
                details={"reason": "no_program"},
            )
        return str(found)

    def _path(self, model: ModelName) -> Path:
        return path_of(split_program(model)[1], self._around.hub).resolve()

    def _header(self, model: ModelName) -> ModelHeader:
        return read_model(self._path(model))

    def _context(self, header: ModelHeader) -> int:
        bounds = [bound for bound in (header.context_tokens, self._around.limits.context_tokens) if bound]
        return min(bounds, default=_ASSUMED_CONTEXT_TOKENS)

    async def _started(
        self, launch: Callable[[int, str], Launch], model: ModelName, loaded: Callable[..., Awaitable[ServerRunner]]
    ) -> ServerRunner:
        """Start the program, and make a runner of it once it is ready; whatever fails, nothing of it is left."""
        key = secrets.token_urlsafe(32)
        client = EndpointClient(keys=lambda _origin: key, reuses=False)
        process: ServerProcess | None = None
        try:
            process = await start(
                lambda port: launch(port, key),
                client,
                program=self.name,
                model=split_program(model)[1],
                secret=key,
                clock=self._around.clock,
                bounds=self._around.bounds,
            )
            return await loaded(process, client)
        except BaseException:  # cancelled, too
            if process is not None:
                await process.close("its loading was broken off")
            await client.close()
            raise


class LlamaServerBackend(_ProgramBackend):
    """GGUF files, in llama.cpp's server. Which graphics cards it uses is its own choice: builds differ in what they can."""

    program = ServerProgram.LLAMA_SERVER

    async def load(self, model: ModelName, precision: Precision) -> ServerRunner:
        """As `Backend.load`."""
        executable = await asyncio.to_thread(self._executable)
        path = await asyncio.to_thread(self._path, model)
        header = await asyncio.to_thread(read_model, path)
        limits, context = self._around.limits, self._context(header)
        cards = await llama_server.cards(executable, self._around.environment)

        def launch(port: int, key: str) -> Launch:
            options = llama_server.Options(
                path=path, port=port, context_tokens=context, threads=limits.threads, slots=limits.rows,
                gpu_layers=None if cards else 0,
            )  # fmt: skip
            environment = llama_server.environment(self._around.environment, key)
            return Launch(arguments=[executable, *llama_server.arguments(options)], environment=environment)

        async def loaded(process: ServerProcess, client: EndpointClient) -> ServerRunner:
            facts = RunnerFacts(
                backend=self.name,
                device="+".join(cards) or "cpu",
                precision=header.precision,
                context_tokens=context,
                memory_bytes=await asyncio.to_thread(process.memory_bytes),
                constrains=True,
                embeds=await embeds(client, process.origin, llama_server.SERVED_NAME),
                fills_in=await llama_server.fills_in(client, process.origin),
                model=model,
            )
            return LlamaServerRunner(process, client, model=llama_server.SERVED_NAME, facts=facts)

        return await self._started(launch, model, loaded)


class VllmBackend(_ProgramBackend):
    """Folders with safetensors and ids of the Hugging Face cache, in vLLM; a `PlacingBackend`."""

    program = ServerProgram.VLLM

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        """As `Backend.need`, in the precision that comes of it."""
        path = await asyncio.to_thread(self._path, model)
        held = vllm.rounding(precision, await asyncio.to_thread(vllm.own_quantisation, path)).precision
        return await super().need(model, held or precision)

    async def load(self, model: ModelName, precision: Precision) -> ServerRunner:
        """As `Backend.load`."""
        return await self.load_on((), model, precision)

    async def load_on(self, devices: Sequence[str], model: ModelName, precision: Precision) -> ServerRunner:
        """As `PlacingBackend.load_on`; without cards among them it is for vLLM to find what it runs on."""
        executable = await asyncio.to_thread(self._executable)
        path = await asyncio.to_thread(self._path, model)
        header = await asyncio.to_thread(read_model, path)
        cards = tuple(device for device in devices if device.startswith(vllm.CARD))
        rounding = vllm.rounding(precision, await asyncio.to_thread(vllm.own_quantisation, path))
        options = vllm.Options(
            path=path,
            served_name=split_program(model)[1],
            precision=precision,
            context_tokens=self._context(header),
            requests=self._around.limits.rows,
            split=vllm.split_over(max(len(cards), 1), header.attention),
            quantisation=rounding.method,
            memory_share=vllm.memory_share(
                self._estimated(header, rounding.precision or precision).total_bytes,
                cards,
                await asyncio.to_thread(self._around.card_bytes),
            ),
        )

        def launch(port: int, key: str) -> Launch:
            environment = {**vllm.environment(self._around.environment, key), **only_these(cards)}
            return Launch(arguments=[executable, *vllm.arguments(options, port)], environment=environment)

        async def loaded(process: ServerProcess, client: EndpointClient) -> ServerRunner:
            facts = RunnerFacts(
                backend=self.name,
                device="+".join(cards) or "cpu",
                precision=rounding.precision,
                context_tokens=options.context_tokens,
                memory_bytes=0 if cards else await asyncio.to_thread(process.memory_bytes),
                constrains=True,
                embeds=await embeds(client, process.origin, options.served_name),
                fills_in=False,
                model=model,
                notes=rounding.notes,
            )
            return ServerRunner(process, client, model=options.served_name, facts=facts)

        return await self._started(launch, model, loaded)
