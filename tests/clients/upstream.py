"""Test equipment, a program: an OpenAI-compatible server whose answers follow from what is asked and nothing else.

It writes `I heard: ` and the last thing that was said, after `(` the system's message `)` where there is one; fills in forms
with the least that they allow; calls the first tool it is offered, once; embeds texts by their words. A token is a word.

What it is asked may name a misfortune, which then befalls it: `fail 500` and other statuses, `fail garbage` (no JSON),
`fail cut` (the connection is torn amid the answer), `fail silent` (nothing comes until the client leaves), `fail stall`
(three pieces, then nothing until the client leaves), `fail slow` (a word each 5 ms, 2,000 words). `GET /state` says how many
requests there were, how many are under way, how many pieces of streams were written, how often each misfortune befell.

It listens on the port that it is given, or on any; prints its address when it does; and ends when its standard input closes.
"""

import asyncio
import base64
import hashlib
import json
import math
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

MODELS: Final = ("steady", "other", "unlucky", "mute", "vectors")
DIMENSIONS: Final = 16
SLOW_WORDS: Final = 2_000
_MISFORTUNE: Final = re.compile(r"\bfail (\d{3}|garbage|cut|silent|stall|slow)\b")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class Upstream:
    """The server; counts what it is asked."""

    def __init__(self) -> None:
        self._asked = self._open = self._pieces = 0
        self._befell: Counter[str] = Counter()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**26, middlewares=[self._counted])
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/state", self._state)
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "GET":
            return await handler(request)
        self._asked += 1
        self._open += 1
        try:
            return await handler(request)
        except Refused as refused:
            kind = "invalid_request_error" if refused.status < 500 else "server_error"
            error = {"message": str(refused), "type": kind, "param": refused.param, "code": None}
            return web.json_response({"error": error}, status=refused.status)
        except (AttributeError, KeyError, TypeError, ValueError) as wrong:
            error = {"message": f"this makes no sense: {wrong!r}", "type": "invalid_request_error"}
            return web.json_response({"error": error | {"param": None, "code": None}}, status=400)
        finally:
            self._open -= 1

    async def _state(self, _request: web.Request) -> web.Response:
        counts = {"asked": self._asked, "open": self._open, "pieces": self._pieces}
        return web.json_response(counts | {"befell": self._befell})

    async def _models(self, _request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await _document(request, "messages")
        messages = asked["messages"]
        if not isinstance(messages, list) or not messages:
            raise Refused(400, "messages must be a list with something in it", "messages")
        return await self._written(request, asked, _Answer.of_chat(asked))

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        asked = await _document(request, "prompt")
        prompt = asked["prompt"] if isinstance(asked["prompt"], str) else str(asked["prompt"][0])
        text = f" and so on until {asked['suffix']}" if asked.get("suffix") else f" goes on after {prompt}"
        return await self._written(request, asked, _Answer(asked, prompt, text, chat=False))

    async def _embeddings(self, request: web.Request) -> web.Response:
        asked = await _document(request, "input")
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        vectors: list[Any] = [vector_of(text) for text in texts]
        if asked.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *one)).decode() for one in vectors]
        tokens = sum(len(text.split()) for text in texts)
        return web.json_response({
            "object": "list",
            "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)],
            "model": asked["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })  # fmt: skip

    async def _written(self, request: web.Request, asked: Any, answer: "_Answer") -> web.StreamResponse:
        """The answer, whole or as a stream, after or amid the misfortune that the prompt names."""
        misfortune = answer.misfortune
        self._befell[misfortune] += 1
        if misfortune.isdecimal():
            raise Refused(int(misfortune), f"asked to fail with {misfortune}")
        if misfortune == "garbage":
            return web.Response(body=b"\x00<html>no JSON</html>", content_type="text/html")
        if misfortune == "silent" or (misfortune == "stall" and not asked.get("stream")):
            await asyncio.Event().wait()
        pause_s = 0.005 if misfortune == "slow" else 0.0
        if not asked.get("stream"):
            if misfortune == "cut":
                assert request.transport is not None
                request.transport.abort()
            await asyncio.sleep(pause_s * len(answer.words))
            return web.json_response(answer.whole())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        for sent, chunk in enumerate(answer.chunks(usage=usage), 1):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self._pieces += 1
            await asyncio.sleep(pause_s)
            if misfortune == "stall" and sent == 3:
                await asyncio.Event().wait()
            if misfortune == "cut" and sent == 3:
                assert request.transport is not None
                request.transport.abort()
                return response
        await response.write(b"data: [DONE]\n\n")
        return response


class _Answer:
    """What one request is answered with."""

    def __init__(
        self, asked: Any, prompt: str, text: str, *, chat: bool, calls: tuple[dict[str, Any], ...] = ()
    ) -> None:
        self.misfortune = found[1] if (found := _MISFORTUNE.search(prompt)) else ""
        self.is_chat, self.calls = chat, calls
        if self.misfortune == "slow":
            text = "word " * SLOW_WORDS
        most = asked.get("max_completion_tokens") or asked.get("max_tokens") or math.inf
        stops = asked.get("stop") or []
        stops = [stops] if isinstance(stops, str) else stops
        cut = min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))
        self.words = _words(text[:cut])
        self.finish = "tool_calls" if calls else "stop"
        if len(self.words) > most:
            self.words, self.finish = self.words[: int(most)], "length"
        self.usage = {
            "prompt_tokens": len(prompt.split()),
            "completion_tokens": len(self.words),
            "total_tokens": len(prompt.split()) + len(self.words),
        }
        self.model = asked["model"]

    @classmethod
    def of_chat(cls, asked: Any) -> "_Answer":
        messages = asked["messages"]
        said = _text(messages[-1])
        prompt = " ".join(_text(message) for message in messages)
        tools, choice = asked.get("tools") or [], asked.get("tool_choice", "auto")
        if tools and choice != "none" and messages[-1]["role"] == "user":
            function = tools[0]["function"]
            arguments = json.dumps(least_of(function.get("parameters") or {}))
            call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
            return cls(asked, prompt, "", chat=True, calls=(call,))
        form = asked.get("response_format") or {}
        if form.get("type") == "json_schema":
            return cls(asked, prompt, json.dumps(least_of(form["json_schema"]["schema"])), chat=True)
        if form.get("type") == "json_object":
            return cls(asked, prompt, json.dumps({"heard": said}), chat=True)
        persona = next((_text(message) for message in messages if message["role"] in ("system", "developer")), "")
        return cls(asked, prompt, f"({persona}) I heard: {said}" if persona else f"I heard: {said}", chat=True)

    def whole(self) -> dict[str, Any]:
        text = "".join(self.words)
        if self.is_chat:
            message: dict[str, Any] = {"role": "assistant", "content": None if self.calls else text}
            choice = {"message": message | ({"tool_calls": list(self.calls)} if self.calls else {})}
        else:
            choice = {"text": text}
        shown = "chat.completion" if self.is_chat else "text_completion"
        return self._document(shown, [choice | {"index": 0, "logprobs": None, "finish_reason": self.finish}]) | {
            "usage": self.usage
        }

    def chunks(self, *, usage: bool) -> Iterator[dict[str, Any]]:
        shown = "chat.completion.chunk" if self.is_chat else "text_completion"
        if self.is_chat:
            yield self._document(shown, [_choice(delta={"role": "assistant", "content": ""})])
        for at, call in enumerate(self.calls):
            yield self._document(shown, [_choice(delta={"tool_calls": [call | {"index": at}]})])
        for word in self.words:
            yield self._document(shown, [_choice(delta={"content": word}) if self.is_chat else _choice(text=word)])
        last = _choice(delta={}) if self.is_chat else _choice(text="")
        yield self._document(shown, [last | {"finish_reason": self.finish}])
        if usage:
            yield self._document(shown, []) | {"usage": self.usage}

    def _document(self, shown: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "answer-1", "object": shown, "created": 1, "model": self.model, "choices": choices}


def least_of(schema: Any) -> Any:
    """The plainest value of a JSON Schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: least_of(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [least_of(schema.get("items", {}))] * schema.get("minItems", 0)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case "string":
            return "x"
    return None


def vector_of(text: str) -> list[float]:
    """A unit vector; texts that share words lie near each other."""
    vector = [1e-3] * DIMENSIONS
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        for at in range(DIMENSIONS):
            vector[at] += digest[at] / 255 - 0.5
    length = math.hypot(*vector)
    return [number / length for number in vector]


async def _document(request: web.Request, needed: str) -> Any:
    try:
        asked = json.loads(await request.read())
    except ValueError:
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(asked, dict) or asked.get("model") not in MODELS:
        raise Refused(404, "there is no such model", "model")
    if not asked.get(needed):
        raise Refused(400, f"{needed} is missing", needed)
    return asked


def _choice(**content: Any) -> dict[str, Any]:
    return {"index": 0, "logprobs": None, "finish_reason": None} | content


def _text(message: Any) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _words(text: str) -> list[str]:
    """The text in pieces of a word, with the space before it."""
    return re.findall(r"\s*\S+|\s+", text)


async def serve(port: int) -> None:
    runner = web.AppRunner(Upstream().application(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
