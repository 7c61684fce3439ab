"""Pictures go on in the words of the server that they are for; whether a model sees is what its server says."""

from contextlib import aclosing

import pytest
from tests.endpoints.server import Upstream, answers
from tests.endpoints.test_ollama import END, FACTS, line, ndjson

from conductor.adapters.endpoints.backend import EndpointBackend
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.lm_studio import read_v0, read_v1
from conductor.adapters.endpoints.ollama import OllamaRunner
from conductor.adapters.endpoints.openai_request import request_of
from conductor.adapters.runners.frames import asked_as_data, asked_of
from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Generation, Message, Picture, Role
from conductor.domain.model import ModelName, Precision

pytestmark = pytest.mark.anyio

DATA = Picture(url="data:image/png;base64,iVBORw0KGgo=", detail="low")
ADDRESS = Picture(url="https://example.org/a.png")


def showing(*pictures: Picture) -> Generation:
    return Generation(messages=(Message(role=Role.USER, content="What is it?", parts=("What is it?", *pictures)),))


def test_an_openai_endpoint_is_told_parts_in_their_order() -> None:
    _, document = request_of(showing(DATA, ADDRESS), "m")

    assert document["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": DATA.url, "detail": "low"}},
                {"type": "image_url", "image_url": {"url": ADDRESS.url}},
            ],
        }
    ]


async def test_ollama_is_told_the_bytes_alone(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/api/chat"] = ndjson(line(END))
    runner = OllamaRunner(client, origin=upstream.origin, model="m", facts=FACTS)
    async with aclosing(runner.generate(showing(DATA))) as written:
        _ = [piece async for piece in written]

    assert upstream.document()["messages"] == [{"role": "user", "content": "What is it?", "images": ["iVBORw0KGgo="]}]


async def test_ollama_fetches_nothing_so_an_address_is_refused(client: EndpointClient, upstream: Upstream) -> None:
    runner = OllamaRunner(client, origin=upstream.origin, model="m", facts=FACTS)
    with pytest.raises(InvalidInput, match="data:"):
        await anext(runner.generate(showing(ADDRESS)))


@pytest.mark.parametrize("capabilities", [["completion"], ["completion", "vision"]])
async def test_ollama_says_whether_a_model_sees(
    client: EndpointClient, upstream: Upstream, capabilities: list[str]
) -> None:
    upstream.handlers["/api/tags"] = answers({"models": [{"name": "m"}]})
    upstream.handlers["/api/ps"] = answers({"models": []})
    upstream.handlers["/api/show"] = answers({"capabilities": capabilities})
    name = ModelName(f"ollama://{upstream.origin.removeprefix('http://')}#m")

    runner = await EndpointBackend(client).load(name, Precision.FP16)

    assert runner.facts.sees is ("vision" in capabilities)


def test_lm_studio_says_whether_a_model_sees() -> None:
    models = [{"key": "a", "capabilities": {"vision": True}}, {"key": "b", "capabilities": {"vision": False}}]
    assert [one.sees for one in read_v1({"models": [*models, {"key": "c"}]})] == [True, False, None]
    assert [one.sees for one in read_v0({"data": [{"id": "a", "type": "vlm"}, {"id": "b", "type": "llm"}]})] == [
        True,
        False,
    ]


def test_pictures_survive_the_way_to_an_engine_process() -> None:
    assert asked_of(asked_as_data(showing(DATA))) == showing(DATA)
