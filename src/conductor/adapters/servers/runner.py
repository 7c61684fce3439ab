"""The `Runner` of a model that a started server program runs: asked as any OpenAI-compatible endpoint, and known to be ours.

What breaks off because the program has died is told so, with its last words; its next user has it started anew.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError, parsed
from conductor.adapters.endpoints.openai_request import request_of
from conductor.adapters.endpoints.openai_runner import OpenAIRunner, estimated_tokens
from conductor.adapters.endpoints.stream_lines import events
from conductor.adapters.runners.llama_cpp_requests import wishes_of
from conductor.adapters.servers.process import ServerProcess
from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.generation import Finish, Generation, Piece, Usage
from conductor.serving.ports import RunnerFacts

#: A broken connection is often noticed before the end of the program that broke it.
_DEATH_S: Final = 3.0
_COUNTING_S: Final = 30.0
_COUNTED: Final = frozenset({"model", "messages", "prompt", "tools"})


class ServerRunner:
    """A model behind a program of ours.

    Args:
        process: runs it; closed with this.
        client: has its key; closed with this.
        model: what the program calls it.
    """

    def __init__(self, process: ServerProcess, client: EndpointClient, *, model: str, facts: RunnerFacts) -> None:
        self._process = process
        self._client = client
        self._model = model
        self._facts = facts
        self._asked = OpenAIRunner(
            client, origin=process.origin, base=f"{process.origin}/v1", model=model, facts=facts
        )  # fmt: skip

    @property
    def facts(self) -> RunnerFacts:
        """What it is."""
        return self._facts

    @property
    def process_id(self) -> int:
        """Of the program."""
        return self._process.program_id

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """As `Runner.generate`."""
        self._check(asked)
        try:
            async with aclosing(self._pieces(asked)) as pieces:
                async for piece in pieces:
                    yield piece
        except EndpointError as broken:
            raise await self._told(broken) from broken

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """As `Runner.embed`."""
        self._check_alive()
        if not self._facts.embeds:
            raise InvalidInput(f"{self._facts.model} does not embed texts when it is run like this", field="model")
        if not texts:
            return [], Usage(prompt_tokens=0, completion_tokens=0)
        try:
            return await self._asked.embed(texts)
        except EndpointError as broken:
            raise await self._told(broken) from broken

    async def count_tokens(self, asked: Generation) -> int:
        """As `Runner.count_tokens`; an estimate that is rather high where the program does not count."""
        self._check_alive()
        try:
            return await self._counted(asked)
        except EndpointError as broken:
            raise await self._told(broken) from broken

    async def close(self) -> None:
        """End the program; generations under way end with `ModelError`."""
        try:
            await self._process.close(f"the model {self._facts.model} was unloaded meanwhile; ask again")
        finally:
            await self._client.close()

    def _pieces(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        return self._asked.generate(asked)

    async def _counted(self, asked: Generation) -> int:
        """As vLLM's `/tokenize` counts.

        Raises:
            EndpointError: the program does not answer.
        """
        whole = request_of(asked, self._model)[1]
        wanted = {name: value for name, value in whole.items() if name in _COUNTED}
        answer = await self._post("/tokenize", wanted)
        count = answer.get("count") if isinstance(answer, Mapping) else None
        return count if isinstance(count, int) else estimated_tokens(asked)

    async def _post(self, path: str, document: Mapping[str, Any]) -> Any:
        """The answer; None where the program does not know the path or refuses the request.

        Raises:
            EndpointError: it does not answer.
        """
        url = f"{self._process.origin}{path}"
        status, _, body = await self._client.ask(self._process.origin, "POST", url, document, within_s=_COUNTING_S)
        return parsed(body, url) if status == 200 else None

    def _check(self, asked: Generation) -> None:
        self._check_alive()
        if asked.suffix and not self._facts.fills_in:
            raise InvalidInput(f"{self._facts.backend} does not fill in with this model", field="suffix")

    def _check_alive(self) -> None:
        if self._process.ended:
            raise ModelError(self._process.ended)

    async def _told(self, broken: EndpointError) -> ModelError:
        """What broke off, in other words where the program is at the bottom of it."""
        lost = broken.status is None
        if lost and (self._process.ended or await self._process.wait_gone(_DEATH_S)):
            return ModelError(self._process.ended)
        return broken


class LlamaServerRunner(ServerRunner):
    """A model behind llama.cpp's server, in those things that it does in its own way: filling in, and counting."""

    def _pieces(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        return self._filled(asked) if asked.suffix else self._asked.generate(asked)

    async def _filled(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """What stands between prompt and suffix; its OpenAI-compatible side knows no suffix."""
        origin = self._process.origin
        url = f"{origin}/infill"
        document = {
            **wishes_of(asked.sampling), "input_prefix": asked.prompt, "input_suffix": asked.suffix, "stream": True,
            "n_predict": -1 if asked.sampling.max_tokens is None else asked.sampling.max_tokens,
        }  # fmt: skip
        async with self._client.answer(origin, "POST", url, document) as response:
            if response.status != HTTPStatus.OK:
                raise await self._client.refused(origin, url, response)
            async with aclosing(events(response.content.iter_any(), url)) as told:
                async for event in told:
                    piece = _piece_of(parsed(event, url), url)
                    yield piece
                    if piece.finish is not None:
                        return
        raise EndpointError(f"{url} broke off in the middle of its answer; ask again", again=True)

    async def _counted(self, asked: Generation) -> int:
        content = asked.prompt + asked.suffix
        if asked.messages:
            whole = request_of(asked, self._model)[1]
            told = {name: value for name, value in whole.items() if name in ("messages", "tools")}
            written = await self._post("/apply-template", told)
            content = str(written.get("prompt", "")) if isinstance(written, Mapping) else ""
        answer = await self._post(
            "/tokenize", {"content": content, "add_special": True, "parse_special": bool(asked.messages)}
        )  # fmt: skip
        tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
        return len(tokens) if isinstance(tokens, list) else estimated_tokens(asked)

    def _check(self, asked: Generation) -> None:
        super()._check(asked)
        if asked.form is not None and not asked.messages:
            raise InvalidInput("llama.cpp keeps to a form in conversations only; send messages", field="form")


def _piece_of(event: Any, url: str) -> Piece:
    """One event of llama.cpp's own completions.

    Raises:
        EndpointError: it tells of a failure, or has another form.
    """
    try:
        if not event.get("stop"):
            return Piece(text=str(event["content"]))
        usage = Usage(
            prompt_tokens=int(event["tokens_evaluated"]),
            completion_tokens=int(event["tokens_predicted"]),
            cached_tokens=int((event.get("timings") or {}).get("cache_n", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise EndpointError(f"{url} failed while it wrote: {str(event)[:300]}", again=True) from wrong
    finish = Finish.LENGTH if event.get("stop_type") == "limit" else Finish.STOP
    return Piece(text=str(event.get("content") or ""), finish=finish, usage=usage)


async def embeds(client: EndpointClient, origin: str, model: str) -> bool:
    """Whether a program answers when it is asked for a vector."""
    url = f"{origin}/v1/embeddings"
    with suppress(EndpointError):
        status, _, body = await client.ask(origin, "POST", url, {"model": model, "input": ["a"]}, within_s=_COUNTING_S)
        if status == 200:
            answer: Any = parsed(body, url)
            with suppress(KeyError, IndexError, TypeError):
                return isinstance(answer["data"][0]["embedding"][0], float)
    return False
