"""The `Runner` of a model behind any OpenAI-compatible endpoint: vLLM, llama.cpp server, LM Studio, a paid service.

Every generation is one streamed request. A stream counts as whole when it said why it ended; one that stops before is an
error, whatever was written. Before the first piece, an endpoint that is busy or fails is asked again, twice at most, after
the time it asks for; afterwards never, because the pieces are out. Closing a generation closes its connection, which is how
these servers are told to stop.

Not covered: several answers at once (`n`), and counting tokens where the server has no tokenizer to ask (estimated; pictures
count nothing then).
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError, parsed, retry_after_s
from conductor.adapters.endpoints.openai_request import request_of
from conductor.adapters.endpoints.stream_lines import events
from conductor.adapters.endpoints.written import CallsInPieces, WholeCharacters
from conductor.domain.generation import Finish, Generation, Piece, TokenScore, Usage
from conductor.serving.ports import RunnerFacts

_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_MOST_ATTEMPTS: Final = 3
_FIRST_WAIT_S: Final = 0.5
#: One that asks to wait longer is not waited for; the caller is told instead.
_LONGEST_WAIT_S: Final = 20.0
#: Text of most languages has more bytes a token; so the estimate is rather too high.
_BYTES_A_TOKEN: Final = 3
_FINISHES: Final = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
}


class OpenAIRunner:
    """One model behind one endpoint.

    Args:
        origin, base: where it is (`address.Address`).
        model: its name there.
    """

    def __init__(self, client: EndpointClient, *, origin: str, base: str, model: str, facts: RunnerFacts) -> None:
        self._client = client
        self._origin, self._base, self._model = origin, base, model
        self._facts = facts

    @property
    def facts(self) -> RunnerFacts:
        """What it is."""
        return self._facts

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """Write; errors as `Runner.generate`, and `Overloaded` where the endpoint has too much to do."""
        path, document = request_of(asked, self._model)
        url = f"{self._base}{path}"
        async with self._stream(url, document) as accepted, contextlib.aclosing(accepted) as data:
            reader = _Reader(url, asked, partial(self._client.said, self._origin))
            async for event in data:
                if event == b"[DONE]":
                    break
                for piece in reader.pieces(event):
                    yield piece
            yield reader.last()

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Unit vectors; errors as `Runner.embed`."""
        url = f"{self._base}/embeddings"
        document = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        status, headers, body = await self._client.ask(self._origin, "POST", url, document)
        if status != 200:
            raise self._client.refused_as(self._origin, url, status, headers, body)
        answer: Any = parsed(body, url)
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = [unit_vector(row["embedding"]) for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError) as wrong:
            raise EndpointError(f"{url} answered no embeddings; check the model", again=False) from wrong
        if len(vectors) != len(texts):
            raise EndpointError(f"{url} answered {len(vectors)} vectors for {len(texts)} texts", again=False)
        return vectors, usage_of(answer.get("usage")) or Usage(prompt_tokens=0, completion_tokens=0)

    async def count_tokens(self, asked: Generation) -> int:
        """Tokens of the prompt as vLLM's `/tokenize` counts them; where there is none, an estimate that is rather high."""
        document: dict[str, Any] = {"model": self._model}
        document |= {key: value for key, value in request_of(asked, self._model)[1].items() if key in _TOKENIZED}
        with contextlib.suppress(EndpointError):
            counted: Any = await self._client.document(
                self._origin, "POST", f"{self._origin}/tokenize", document, within_s=5.0
            )
            if isinstance(counted, dict) and isinstance(counted.get("count"), int):
                return int(counted["count"])
        return estimated_tokens(asked)

    async def close(self) -> None:
        """Nothing is held here: the connections are the client's."""

    @contextlib.asynccontextmanager
    async def _stream(self, url: str, document: Mapping[str, Any]) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The events of an accepted request, after as many attempts as it takes and may take."""
        for attempt in range(_MOST_ATTEMPTS):
            async with self._client.answer(self._origin, "POST", url, document) as response:
                if response.status == 200:
                    yield _checked(response.content_type, response.content.iter_any(), url)
                    return
                refused = await self._client.refused(self._origin, url, response)
                wait_s = retry_after_s(response.headers)
            if wait_s is None:
                wait_s = _FIRST_WAIT_S * 2**attempt
            if response.status not in _AGAIN or attempt == _MOST_ATTEMPTS - 1 or wait_s > _LONGEST_WAIT_S:
                raise refused
            await asyncio.sleep(wait_s)


#: What a prompt consists of.
_TOKENIZED: Final = frozenset({"messages", "prompt", "tools"})


def _checked(content_type: str, chunks: AsyncIterator[bytes], url: str) -> AsyncGenerator[bytes, None]:
    if content_type != "text/event-stream":
        raise EndpointError(f"{url} answered {content_type!r} instead of a stream; check the address", again=False)
    return events(chunks, url)


class _Reader:
    """Reads the events of one stream into pieces.

    Args:
        said: what an error's event says, for people.
    """

    def __init__(self, url: str, asked: Generation, said: Callable[[bytes], str]) -> None:
        self._url, self._said = url, said
        self._characters, self._thoughts = WholeCharacters(), WholeCharacters()
        self._calls = CallsInPieces()
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._is_chat = bool(asked.messages)

    def pieces(self, event: bytes) -> list[Piece]:
        """What one event brings; nothing, or one piece."""
        document: Any = parsed(event, self._url)
        if not isinstance(document, dict):
            raise EndpointError(f"{self._url} streams something that is no completion", again=False)
        if document.get("error"):
            raise EndpointError(f"{self._url} failed while it wrote: {self._said(event)}", again=True)
        self._usage = usage_of(document.get("usage")) or self._usage
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return []
        return self._of_choice(choices[0])

    def last(self) -> Piece:
        """The piece that ends a whole stream.

        Raises:
            EndpointError: it ended before it said why.
        """
        if self._finish is None:
            raise EndpointError(f"{self._url} broke off in the middle of its answer; ask again", again=True)
        return Piece(
            text=self._characters.rest(),
            tool_calls=tuple(self._calls.whole()),
            finish=self._finish,
            usage=self._usage,
            reasoning=self._thoughts.rest(),
        )

    def _of_choice(self, choice: Mapping[str, Any]) -> list[Piece]:
        delta: Any = choice.get("delta") if self._is_chat else choice
        delta = delta if isinstance(delta, Mapping) else {}
        text = delta.get("content" if self._is_chat else "text")
        self._calls.add(delta.get("tool_calls"))
        ending = choice.get("finish_reason")
        if ending == "content_filter":
            raise EndpointError(f"{self._url} withheld the answer: its content filter stopped it", again=False)
        if ending is not None:
            self._finish = _FINISHES.get(str(ending), Finish.STOP)
        whole = self._characters.add(text) if isinstance(text, str) else ""
        thought = self._thoughts.add(thought_of(delta)) if self._is_chat else ""
        scores = scores_of(choice.get("logprobs"))
        return [Piece(text=whole, scores=scores, reasoning=thought)] if whole or scores or thought else []


def thought_of(delta: Mapping[str, Any]) -> str:
    """What the model thinks: `reasoning_content` (DeepSeek, llama.cpp, LM Studio) or `reasoning` (vLLM, OpenRouter)."""
    told = delta.get("reasoning_content")
    told = delta.get("reasoning") if told is None else told
    return told if isinstance(told, str) else ""


def usage_of(told: object) -> Usage | None:
    """The `usage` object; None where it is none."""
    if not isinstance(told, Mapping) or not isinstance(told.get("prompt_tokens"), int):
        return None
    written = told.get("completion_tokens")
    return Usage(
        prompt_tokens=told["prompt_tokens"],
        completion_tokens=written if isinstance(written, int) else 0,
        cached_tokens=_detail(told.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_detail(told.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _detail(told: object, name: str) -> int:
    count = told.get(name) if isinstance(told, Mapping) else None
    return count if isinstance(count, int) else 0


def scores_of(told: object) -> tuple[TokenScore, ...]:
    """Log probabilities of a chat's event, or of a plain completion's; empty where they are neither."""
    if not isinstance(told, Mapping):
        return ()
    try:
        if isinstance(told.get("content"), list):
            return tuple(
                TokenScore(
                    _token(row["token"]),
                    float(row["logprob"]),
                    tuple((_token(other["token"]), float(other["logprob"])) for other in row.get("top_logprobs") or ()),
                )
                for row in told["content"]
            )
        tops = told.get("top_logprobs") or itertools.repeat(None)  # where none are asked for, OpenAI says null
        rows = zip(told["tokens"], told["token_logprobs"], tops, strict=False)
        return tuple(
            TokenScore(
                _token(token), float(score), tuple((other, float(value)) for other, value in (top or {}).items())
            )
            for token, score, top in rows
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return ()


def _token(told: object) -> str:
    if not isinstance(told, str):
        raise TypeError("a token is text")
    return told


def unit_vector(numbers: object) -> list[float]:
    """The vector at length 1.

    Raises:
        ValueError, TypeError, OverflowError: these are no finite numbers, or all of them are 0.
    """
    vector = [float(number) for number in numbers]  # type: ignore[attr-defined]
    length = math.hypot(*vector)
    if not 0 < length < math.inf:
        raise ValueError(f"the vector's length is {length}")
    return [number / length for number in vector]


def estimated_tokens(asked: Generation) -> int:
    """About how many tokens a prompt has; rather too many."""
    texts = [asked.prompt, asked.suffix, *(message.content for message in asked.messages)]
    return math.ceil(sum(len(text.encode("utf-8", "replace")) for text in texts) / _BYTES_A_TOKEN) + 4 * len(
        asked.messages
    )
