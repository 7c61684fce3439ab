"""Ask a language model behind an OpenAI-compatible endpoint: Ollama, vLLM, LM Studio, llama.cpp, a paid service.

One request per question, `POST …/chat/completions` with a JSON schema as `response_format`; an endpoint that refuses
this is asked without it from then on. Every wait has a limit. An endpoint that fails is left alone for a while, longer
each time, so that not every decision waits for it. What leaves the machine is the prompt, and so the description.

Not covered: streaming, redirects (a key must not follow one), endpoints that need more than a bearer key.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp

from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError
from conductor.domain.json import JsonObject
from conductor.domain.redaction import without_secrets
from conductor.domain.units import MIB

#: A form is a few hundred bytes; whatever sends more is not answering.
_LONGEST_ANSWER: Final = MIB
_ANSWER_TOKENS: Final = 300
#: Bytes of an answer that an error repeats.
_SHOWN: Final = 200
_FIRST_REST_S: Final = 5.0
_LONGEST_REST_S: Final = 300.0
#: Statuses by which endpoints say that they do not know a field of the request.
_NOT_UNDERSTOOD: Final = frozenset({400, 404, 415, 422, 501})


class Endpoint:
    """The `Completer` of an endpoint.

    Args:
        address: up to and including `/v1`, or just scheme and host, http(s).
        model: the model's name there; None takes the only one, or the first that is listed.
        key: sent as bearer key; None sends none.
        timeout_s: bound of one question, connection included.
    """

    def __init__(self, address: str, *, model: str | None, key: str | None, timeout_s: float, clock: Clock) -> None:
        self._address = _base(address)
        self._model = model
        self._key = key
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._schema_understood = True
        self._failure = ""
        self._rest_s = 0.0
        self._rests_until_s = -1.0

    @property
    def name(self) -> str:
        """The model's name and where it is."""
        return without_secrets(f"{self._model or 'model'} at {self._address}")

    @property
    def checksum(self) -> str:
        """Empty: the weights are out of reach, and nobody here can tell what they are."""
        return ""

    async def reach(self) -> None:
        """See that something answers at the address and takes the key; asks for its models, and sends nothing else.

        Raises:
            ModelError: nothing answers in time, or it refuses the key or fails.
        """
        with self._told():
            async with (
                self._session() as session,
                session.get(f"{self._address}/models", allow_redirects=False) as response,
            ):
                status, beginning = response.status, await response.content.read(_SHOWN)
            if status in (401, 403) or status >= 500:  # some have no list, and answer with what they like
                self._content(status, beginning)

    def complete(self, prompt: str, schema: JsonObject) -> str:
        """The model's answer; blocking, thread-safe.

        Raises:
            ModelError: it does not answer in time, refuses, answers with no completion, or rests after a failure.
        """
        self._check_rest()
        with self._told():
            answer = asyncio.run(self._within_limit(prompt, schema))
        with self._lock:
            self._rest_s = 0.0
        return answer

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell every failure in our words, and rest after it."""
        try:
            try:
                yield
            except TimeoutError as late:
                raise self._error(
                    f"did not answer within {self._timeout_s:g} s; raise mind.timeout_s or check it"
                ) from late
            except (aiohttp.ClientError, OSError, ValueError) as broken:
                raise self._error(f"cannot be asked ({broken or type(broken).__name__}); check mind.model") from broken
        except ModelError as failure:
            self._rest_after(failure.message)
            raise

    async def _within_limit(self, prompt: str, schema: JsonObject) -> str:
        async with self._session() as session:
            return await self._answer(session, prompt, schema)

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with (
            asyncio.timeout(self._timeout_s),
            aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=self._timeout_s)) as session,
        ):
            yield session

    async def _answer(self, session: aiohttp.ClientSession, prompt: str, schema: JsonObject) -> str:
        request: dict[str, Any] = {
            "model": await self._model_name(session),
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": _ANSWER_TOKENS,
        }
        form = {"type": "json_schema", "json_schema": {"name": "form", "strict": True, "schema": schema}}
        if self._schema_understood:
            status, body = await self._exchange(session, "chat/completions", request | {"response_format": form})
            if status not in _NOT_UNDERSTOOD:
                return self._content(status, body)
        status, body = await self._exchange(session, "chat/completions", request)
        answer = self._content(status, body)
        self._schema_understood = False  # only now is it clear that it was the schema that was refused
        return answer

    async def _model_name(self, session: aiohttp.ClientSession) -> str:
        if self._model is not None:
            return self._model
        status, body = await self._exchange(session, "models", None)
        try:
            return str(json.loads(body)["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError) as wrong:
            raise self._error(f"lists no models (status {status}); set mind.model_name") from wrong

    async def _exchange(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, Any] | None
    ) -> tuple[int, bytes]:
        """Status and bounded body."""
        method = "GET" if body is None else "POST"
        address = f"{self._address}/{path}"
        async with session.request(method, address, json=body, allow_redirects=False) as response:
            content = b""
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    raise self._error(f"sent more than {_LONGEST_ANSWER:,} bytes; check that it is a language model")
            return response.status, content

    def _content(self, status: int, body: bytes) -> str:
        if status in (401, 403):
            raise self._error(f"refused the key (status {status}); set CONDUCTOR_MIND__API_KEY to one it takes")
        if status != 200:
            raise self._error(f"answered with status {status}: {body[:_SHOWN].decode('utf-8', 'replace')!r}")
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as wrong:
            raise self._error(
                "answered something that is no chat completion; check the address, it ends in /v1"
            ) from wrong
        if not isinstance(content, str):
            raise self._error("answered without text; choose a model for text")
        return content

    def _check_rest(self) -> None:
        with self._lock:
            left_s = self._rests_until_s - self._clock.monotonic_s()
            failure = self._failure
        if self._rest_s and left_s > 0:
            raise ModelError(f"{failure} (asked again in {left_s:.0f} s)", field="mind.model")

    def _rest_after(self, failure: str) -> None:
        with self._lock:
            self._failure = failure
            self._rest_s = min(max(_FIRST_REST_S, self._rest_s * 2), _LONGEST_REST_S)
            self._rests_until_s = self._clock.monotonic_s() + self._rest_s

    def _error(self, what: str) -> ModelError:
        return ModelError(f"the endpoint {self._address} {what}", field="mind.model")


def _base(address: str) -> str:
    """Everything up to where `/chat/completions` is added; a bare host gets the `/v1` that all of them use."""
    bare = address.rstrip("/").removesuffix("/chat/completions")
    return f"{bare}/v1" if bare.count("/") == 2 else bare
