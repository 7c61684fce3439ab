"""The `Runner` of a model in Ollama, in Ollama's own protocol: lines of JSON, options by their names there.

`/api/chat` for conversations, `/api/generate` for plain text and for filling in, `/api/embed`; `/api/tags` lists what is
there, `/api/ps` what is loaded, `/api/show` what a model can. A stream is whole when its last line says `done`. Ollama loads
and unloads by itself, so the first answer may take long; closing a generation closes its connection, and Ollama stops.

Source: ollama's docs/openapi.yaml. Not covered: log probabilities (asked for, they are refused), pulling models.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError, parsed
from conductor.adapters.endpoints.openai_request import message_of, tool_of
from conductor.adapters.endpoints.openai_runner import estimated_tokens, unit_vector
from conductor.adapters.endpoints.stream_lines import lines
from conductor.adapters.endpoints.written import WholeCharacters
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Picture, Piece, ToolCall, Usage
from conductor.serving.ports import RunnerFacts

_LIST_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """One line of `/api/tags`, with what `/api/ps` says of it."""

    name: str
    size_bytes: int
    quantization: str
    loaded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaShown:
    """What `/api/show` says: longest context (0 where it does not say), and capabilities such as `embedding`."""

    context_tokens: int
    capabilities: frozenset[str]


async def ollama_models(client: EndpointClient, origin: str) -> list[OllamaModel]:
    """What is there, and how much memory what is loaded takes.

    Raises:
        EndpointError: it does not answer, or not like Ollama.
    """
    listed: Any = await client.document(origin, "GET", f"{origin}/api/tags", within_s=_LIST_WITHIN_S)
    loaded: Any = await client.document(origin, "GET", f"{origin}/api/ps", within_s=_LIST_WITHIN_S)
    try:
        sizes = {row["name"]: int(row.get("size", 0)) for row in loaded.get("models") or ()}
        return [
            OllamaModel(
                name=row["name"],
                size_bytes=int(row.get("size", 0)),
                quantization=str((row.get("details") or {}).get("quantization_level", "")),
                loaded_bytes=sizes.get(row["name"], 0),
            )
            for row in listed["models"] or ()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise EndpointError(f"{origin} does not list models like Ollama; check the address", again=False) from wrong


async def ollama_shown(client: EndpointClient, origin: str, model: str) -> OllamaShown:
    """What a model can.

    Raises:
        EndpointError: it does not answer, or does not know the model.
    """
    shown: Any = await client.document(origin, "POST", f"{origin}/api/show", {"model": model}, within_s=_LIST_WITHIN_S)
    shown = shown if isinstance(shown, dict) else {}
    facts = shown.get("model_info")
    lengths = [
        value
        for name, value in (facts.items() if isinstance(facts, dict) else ())
        if name.endswith(".context_length") and isinstance(value, int)
    ]
    capabilities = shown.get("capabilities")
    able = frozenset(map(str, capabilities)) if isinstance(capabilities, list) else frozenset({"completion"})
    return OllamaShown(context_tokens=max(lengths, default=0), capabilities=able)


class OllamaRunner:
    """One model of one Ollama."""

    def __init__(self, client: EndpointClient, *, origin: str, model: str, facts: RunnerFacts) -> None:
        self._client, self._origin, self._model = client, origin, model
        self._facts = facts

    @property
    def facts(self) -> RunnerFacts:
        """What it is."""
        return self._facts

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """Write; errors as `Runner.generate`, and `Overloaded` where Ollama has too much to do."""
        path, document = _request(asked, self._model)
        url = f"{self._origin}{path}"
        async with self._client.answer(self._origin, "POST", url, document) as response:
            if response.status != 200:
                raise await self._client.refused(self._origin, url, response)
            reader = _Reader(url, partial(self._client.said, self._origin))
            async with aclosing(lines(response.content.iter_any(), url)) as whole:
                async for line in whole:
                    piece = reader.piece(line) if line.strip() else None
                    if piece is not None:
                        yield piece
                    if piece is not None and piece.finish is not None:
                        return
        raise EndpointError(f"{url} broke off in the middle of its answer; ask again", again=True)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Unit vectors; errors as `Runner.embed`."""
        url = f"{self._origin}/api/embed"
        document = {"model": self._model, "input": list(texts), "truncate": False}
        status, headers, body = await self._client.ask(self._origin, "POST", url, document)
        if status != 200:
            raise self._client.refused_as(self._origin, url, status, headers, body)
        answer: Any = parsed(body, url)
        try:
            vectors = [unit_vector(numbers) for numbers in answer["embeddings"]]
            read = int(answer.get("prompt_eval_count", 0))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as wrong:
            raise EndpointError(f"{url} answered no embeddings; check the model", again=False) from wrong
        if len(vectors) != len(texts):
            raise EndpointError(f"{url} answered {len(vectors)} vectors for {len(texts)} texts", again=False)
        return vectors, Usage(prompt_tokens=read, completion_tokens=0)

    async def count_tokens(self, asked: Generation) -> int:
        """An estimate that is rather high: Ollama has nothing that counts."""
        return estimated_tokens(asked)

    async def close(self) -> None:
        """Nothing is held here: Ollama unloads by itself."""


def _request(asked: Generation, model: str) -> tuple[str, dict[str, Any]]:
    if asked.languages is not None:
        raise InvalidInput("Ollama cannot be told languages by code; name them in the prompt", field="languages")
    if asked.sampling.top_scores is not None:
        raise InvalidInput("Ollama tells no log probabilities; ask without them", field="sampling.top_scores")
    document: dict[str, Any] = {"model": model, "stream": True, "options": _options(asked)}
    if asked.form is not None:
        document["format"] = asked.form
    if not asked.messages:
        document |= {"prompt": asked.prompt} | ({"suffix": asked.suffix} if asked.suffix else {"raw": True})
        return "/api/generate", document
    document["messages"] = [_message(message) for message in asked.messages]
    if asked.tools and asked.tool_choice != "none":
        document["tools"] = [tool_of(tool) for tool in asked.tools]
    return "/api/chat", document


def _options(asked: Generation) -> dict[str, Any]:
    sampling = asked.sampling
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "repeat_penalty": sampling.repetition_penalty,
    }
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(sampling, name):
            options[name] = value
    if sampling.max_tokens is not None:
        options["num_predict"] = sampling.max_tokens
    if sampling.seed is not None:
        options["seed"] = sampling.seed
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    return options


def _message(message: Message) -> dict[str, Any]:
    """As OpenAI's, but arguments of tool calls are objects there, and an answer names its tool."""
    document = message_of(message)
    if message.parts:
        document |= {
            "content": message.content,
            "images": [_picture(part) for part in message.parts if isinstance(part, Picture)],
        }
    for call in document.get("tool_calls", ()):
        try:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        except ValueError as wrong:
            raise InvalidInput("a tool call's arguments are no JSON", field="messages.tool_calls") from wrong
    if message.name:
        document["tool_name"] = message.name
    return document


def _picture(picture: Picture) -> str:
    """As Ollama takes it: the bytes in base64, and nothing else."""
    head, _, data = picture.url.partition(";base64,")
    if not head.startswith("data:"):
        raise InvalidInput("Ollama fetches no pictures; send them as data: URLs in base64", field="messages.content")
    return data


class _Reader:
    """Reads the lines of one stream into pieces.

    Args:
        said: what an error's line says, for people.
    """

    def __init__(self, url: str, said: Callable[[bytes], str]) -> None:
        self._url, self._said = url, said
        self._characters, self._thoughts = WholeCharacters(), WholeCharacters()
        self._calls: list[ToolCall] = []

    def piece(self, line: bytes) -> Piece | None:
        """What one line brings; the last one has `finish`."""
        document: Any = parsed(line, self._url)
        if not isinstance(document, dict):
            raise EndpointError(f"{self._url} streams something that is no answer of Ollama", again=False)
        if document.get("error"):
            raise EndpointError(f"{self._url} failed while it wrote: {self._said(line)}", again=True)
        message = document.get("message")
        message = message if isinstance(message, Mapping) else {}
        text = message.get("content", document.get("response"))
        whole = self._characters.add(text) if isinstance(text, str) else ""
        thinking = message.get("thinking", document.get("thinking"))
        thought = self._thoughts.add(thinking) if isinstance(thinking, str) else ""
        self._calls.extend(_calls(message.get("tool_calls"), first=len(self._calls)))
        if document.get("done") is not True:
            return Piece(text=whole, reasoning=thought) if whole or thought else None
        ending = Finish.LENGTH if document.get("done_reason") == "length" else Finish.STOP
        return Piece(
            text=whole + self._characters.rest(),
            tool_calls=tuple(self._calls),
            finish=Finish.TOOL_CALLS if self._calls else ending,
            usage=Usage(
                prompt_tokens=_count(document.get("prompt_eval_count")),
                completion_tokens=_count(document.get("eval_count")),
            ),
            reasoning=thought + self._thoughts.rest(),
        )


def _calls(told: object, *, first: int) -> list[ToolCall]:
    calls = []
    for number, call in enumerate(told if isinstance(told, list) else (), first):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
            calls.append(ToolCall(call_id=f"call_{number}", name=function["name"], arguments=arguments))
    return calls


def _count(told: object) -> int:
    return told if isinstance(told, int) else 0
