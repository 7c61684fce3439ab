"""An endpoint that answers, hangs, talks nonsense, refuses; each a real server on a loopback port."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from conductor.adapters.clock import SystemClock
from conductor.adapters.minds.endpoint import Endpoint
from conductor.decisions.completion import CompletionReader
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import ModelError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FILLED = {
    "device": "VIDEO",
    "task_kind": "video_transcode",
    "priority": 3,
    "compute_units": 4.0,
    "duration": "5 minutes",
    "reason": "It encodes video.",
}


@contextmanager
def serving(answer: Handler) -> Iterator[str]:
    """The address of a server on which every path is answered by `answer`."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def completion(content: object) -> web.Response:
    return web.json_response({"choices": [{"message": {"role": "assistant", "content": content}}]})


def endpoint(address: str, *, model: str | None = "m", key: str | None = None, timeout_s: float = 10.0) -> Endpoint:
    return Endpoint(address, model=model, key=key, timeout_s=timeout_s, clock=SystemClock())


def test_an_endpoint_that_answers_takes_part() -> None:
    seen: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append({"path": request.path, "key": request.headers.get("Authorization"), **await request.json()})
        return completion(json.dumps(FILLED))

    with serving(answer) as address:
        (proposal,) = CompletionReader(endpoint(address, key="secret-1")).propose(["Transcode the clip"])

    assert (proposal.task_kind, proposal.duration_s) == (TaskKind.VIDEO_TRANSCODE, 300.0)
    assert max(proposal.device_probabilities, key=lambda each: proposal.device_probabilities[each]) is DeviceType.VIDEO
    assert (seen[0]["path"], seen[0]["key"], seen[0]["model"]) == ("/v1/chat/completions", "Bearer secret-1", "m")
    assert "Transcode the clip" in str(seen[0]["messages"])


def test_an_endpoint_that_refuses_the_schema_is_asked_without_it_and_not_offered_it_again() -> None:
    with_schema: list[bool] = []

    async def answer(request: web.Request) -> web.Response:
        with_schema.append("response_format" in await request.json())
        if with_schema[-1]:
            return web.json_response({"error": "unknown field response_format"}, status=400)
        return completion(json.dumps(FILLED))

    with serving(answer) as address:
        asked = endpoint(address)
        CompletionReader(asked).propose(["one", "two"])

    assert with_schema == [True, False, False]


def test_the_first_model_listed_is_asked_where_none_is_named() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": "tiny-chat"}, {"id": "other"}]})
        asked.append((await request.json())["model"])
        return completion(json.dumps(FILLED))

    with serving(answer) as address:
        endpoint(f"{address}/v1/", model=None).complete("prompt", {})

    assert asked == ["tiny-chat"]


def test_an_endpoint_that_hangs_ends_at_the_limit_and_is_left_alone_for_a_while() -> None:
    requests: list[str] = []
    over = threading.Event()

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.path)
        while not over.is_set():
            await asyncio.sleep(0.02)
        return web.Response()

    with serving(answer) as address:
        hanging = endpoint(address, timeout_s=0.3)
        with pytest.raises(ModelError, match=r"did not answer within 0\.3 s; raise mind\.timeout_s"):
            hanging.complete("prompt", {})
        with pytest.raises(ModelError, match=r"did not answer within 0\.3 s.*asked again in \d s"):
            hanging.complete("prompt", {})
        over.set()

    assert len(requests) == 1


def test_an_endpoint_that_drips_bytes_ends_at_the_limit_too() -> None:
    over = threading.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not over.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    with serving(answer) as address:
        with pytest.raises(ModelError, match="did not answer within"):
            endpoint(address, timeout_s=0.3).complete("prompt", {})
        over.set()


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (lambda: web.Response(text="<html>Welcome</html>"), "no chat completion"),
        (lambda: web.json_response({"choices": []}), "no chat completion"),
        (lambda: web.json_response([1]), "no chat completion"),
        (lambda: completion(None), "without text"),
        (lambda: web.Response(status=401), "CONDUCTOR_MIND__API_KEY"),
        (lambda: web.Response(status=500, text="out of memory"), "status 500: 'out of memory'"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}), "status 302"),
        (lambda: web.Response(body=b"x" * 3_000_000), "more than 1,048,576 bytes"),
    ],
    ids=["html", "no choices", "a list", "no text", "key", "broken", "redirect", "endless"],
)
def test_nonsense_is_an_error_that_says_what_came(response: Callable[[], web.Response], told: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return response()

    with serving(answer) as address, pytest.raises(ModelError, match=told):
        endpoint(address, key="k").complete("prompt", {})


def test_an_endpoint_that_is_not_there_is_told_with_its_address() -> None:
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:9/v1 cannot be asked.*check mind\.model"):
        endpoint("http://127.0.0.1:9").complete("prompt", {})


def test_an_answer_that_is_not_the_form_does_not_make_the_endpoint_rest() -> None:
    answers = iter(["no", "no", json.dumps(FILLED)])

    async def answer(_request: web.Request) -> web.Response:
        return completion(next(answers))

    with serving(answer) as address:
        reader = CompletionReader(endpoint(address))
        with pytest.raises(ModelError, match="something else than the form"):
            reader.propose(["one"])
        assert reader.propose(["two"])[0].priority == 3


def test_an_endpoint_has_no_checksum_for_nobody_here_can_see_its_weights() -> None:
    assert endpoint("http://one.example/v1", model="a").checksum == ""


def test_an_endpoint_that_lists_its_models_is_there() -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.method, request.path))
        return web.json_response({"data": [{"id": "m"}]})

    with serving(answer) as address:
        asyncio.run(endpoint(address).reach())

    assert asked == [("GET", "/v1/models")]


@pytest.mark.parametrize(
    ("status", "told"), [(401, "CONDUCTOR_MIND__API_KEY"), (403, "refused the key"), (502, "answered with status 502")]
)
def test_an_endpoint_that_would_not_answer_is_found_out_before_it_is_asked(status: int, told: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    with serving(answer) as address, pytest.raises(ModelError, match=told):
        asyncio.run(endpoint(address).reach())


def test_an_endpoint_without_a_list_of_models_counts_as_there() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=404)

    with serving(answer) as address:
        asyncio.run(endpoint(address).reach())


def test_a_password_in_the_address_is_told_nowhere() -> None:
    asked = endpoint("http://me:hunter2@127.0.0.1:9/v1")

    with pytest.raises(ModelError) as told:
        asked.complete("prompt", {})
    with pytest.raises(ModelError) as again:
        asked.complete("prompt", {})

    assert "hunter2" not in asked.name + str(told.value) + str(again.value)
    assert "http://me:****@127.0.0.1:9/v1" in str(told.value)
