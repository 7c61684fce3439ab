"""Addresses, who answers there, and the runner that comes of it. Samples are those that the servers' documentation shows."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.endpoints.server import Upstream, answers, says

from conductor.adapters.endpoints.address import is_address, parse_address
from conductor.adapters.endpoints.backend import EndpointBackend, precision_of
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError, retry_after_s
from conductor.adapters.endpoints.lm_studio import ListedModel, lm_studio_models, read_v0, read_v1
from conductor.adapters.endpoints.ollama import OllamaRunner
from conductor.adapters.endpoints.openai_runner import OpenAIRunner
from conductor.adapters.endpoints.probe import ServerKind, probe
from conductor.domain.errors import InvalidInput, NotFound
from conductor.domain.model import ModelName, Precision

SAMPLES = Path(__file__).parents[3] / "shared" / "vectors" / "openai-compat" / "node-probe-samples.json"


def sample(server: str, request: str) -> Any:
    if not SAMPLES.exists():
        pytest.skip("the samples of servers' answers are not beside this repository")
    return json.loads(SAMPLES.read_text())[server][request]


@pytest.mark.parametrize(
    ("text", "dialect", "origin", "base", "model"),
    [
        ("http://gpu:8000/v1#org/m:7b", "openai", "http://gpu:8000", "http://gpu:8000/v1", "org/m:7b"),
        ("https://api.example/openai/v1/", "openai", "https://api.example", "https://api.example/openai/v1", ""),
        ("http://gpu:8000#m", "openai", "http://gpu:8000", "http://gpu:8000/v1", "m"),
        ("http://[::1]:8000/v1/chat/completions#m", "openai", "http://[::1]:8000", "http://[::1]:8000/v1", "m"),
        ("ollama://pi#m", "ollama", "http://pi:11434", "http://pi:11434", "m"),
        ("lmstudio://desk:9#m", "lmstudio", "http://desk:9", "http://desk:9/v1", "m"),
    ],
)
def test_an_address_says_where_and_how(text: str, dialect: str, origin: str, base: str, model: str) -> None:
    address = parse_address(text)

    assert (address.dialect, address.origin, address.base, address.model) == (dialect, origin, base, model)
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["http://", "ftp://a", "http://a:99999999/v1", "http://u:sk-1@a/v1", "http://a/v1?key=sk-1"]
)
def test_what_is_no_address_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_address(text)

    assert "sk-1" not in refused.value.message


@pytest.mark.parametrize("name", ["org/model", "/models/a.gguf", "model@latest", ""])
def test_other_names_are_no_addresses(name: str) -> None:
    assert not is_address(name)


def test_lm_studios_newest_list_tells_what_is_loaded() -> None:
    assert read_v1(sample("lmstudio", "GET /api/v1/models")) == [
        ListedModel(
            name="gemma-3-270m-it-qat",
            loaded=True, embeds=False, context_tokens=4096, quantization="Q4_0", size_bytes=241410208, sees=False,
        ),
        ListedModel(
            name="text-embedding-nomic-embed-text-v1.5-embedding",
            loaded=False, embeds=True, context_tokens=2048, quantization="F16", size_bytes=274290560,
        ),
    ]  # fmt: skip


def test_lm_studios_older_list_has_another_form() -> None:
    listed = read_v0(sample("lmstudio", "GET /api/v0/models"))

    assert [(one.name, one.loaded, one.context_tokens) for one in listed] == [
        ("qwen2-vl-7b-instruct", False, 32768),
        ("meta-llama-3.1-8b-instruct", False, 131072),
    ]


@pytest.mark.anyio
async def test_the_newest_list_that_there_is_counts(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers["/v1/models"] = answers({"data": [{"id": "plain"}]})
    assert [one.name for one in await lm_studio_models(client, upstream.origin)] == ["plain"]

    upstream.handlers["/api/v0/models"] = answers({"data": [{"id": "older", "state": "loaded"}]})
    assert [one.name for one in await lm_studio_models(client, upstream.origin)] == ["older"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("handlers", "kind"),
    [
        (
            {"/api/version": {"version": "0.9"}, "/api/tags": {"models": []}, "/api/ps": {"models": []}},
            ServerKind.OLLAMA,
        ),
        ({"/api/v1/models": {"models": [{"key": "a"}]}}, ServerKind.LM_STUDIO),
        ({"/api/v0/models": {"data": [{"id": "a"}]}}, ServerKind.LM_STUDIO),
        ({"/v1/models": {"data": [{"id": "a", "owned_by": "llamacpp"}]}}, ServerKind.LLAMA_CPP),
        ({"/v1/models": {"data": [{"id": "a", "owned_by": "vllm"}]}, "/version": {"version": "0.1"}}, ServerKind.VLLM),
        ({"/v1/models": {"data": [{"id": "a"}]}}, ServerKind.OPENAI),
    ],
)
async def test_who_answers_is_told_by_what_only_it_has(
    client: EndpointClient, upstream: Upstream, handlers: dict[str, Any], kind: ServerKind
) -> None:
    upstream.handlers |= {path: answers(document) for path, document in handlers.items()}

    assert (await probe(client, upstream.origin, upstream.base)).kind is kind


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 1}', b"\xff"])
async def test_what_is_no_server_of_models_is_told_as_that(
    client: EndpointClient, upstream: Upstream, body: bytes
) -> None:
    for path in ("/api/version", "/api/v1/models", "/api/v0/models", "/v1/models", "/version"):
        upstream.handlers[path] = says(body)

    with pytest.raises(EndpointError):
        await probe(client, upstream.origin, upstream.base)


@pytest.mark.anyio
async def test_each_dialect_gets_its_runner(client: EndpointClient, upstream: Upstream) -> None:
    upstream.handlers |= {
        "/v1/models": answers({"data": [{"id": "m", "max_model_len": 512}]}),
        "/api/tags": answers({"models": [{"name": "m:latest", "details": {"quantization_level": "Q4_K_M"}}]}),
        "/api/ps": answers({"models": []}),
        "/api/show": answers({"model_info": {"llama.context_length": 64}, "capabilities": ["completion"]}),
    }
    backend = EndpointBackend(client)
    host = upstream.origin.removeprefix("http://")

    plain = await backend.load(ModelName(f"http://{host}/v1#m"), Precision.FP16)
    ollama = await backend.load(ModelName(f"ollama://{host}#m"), Precision.FP16)

    assert isinstance(plain, OpenAIRunner)
    assert (plain.facts.context_tokens, plain.facts.precision, plain.facts.memory_bytes) == (512, None, 0)
    assert isinstance(ollama, OllamaRunner)
    assert (ollama.facts.context_tokens, ollama.facts.precision) == (64, Precision.INT4)


@pytest.mark.anyio
async def test_a_model_that_is_not_there_is_named_with_those_that_are(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.handlers["/v1/models"] = answers({"data": [{"id": "a"}, {"id": "b"}]})
    backend = EndpointBackend(client)

    with pytest.raises(NotFound, match=r"no model 'c'; it has a, b"):
        await backend.need(ModelName(f"{upstream.base}#c"), Precision.FP16)
    with pytest.raises(EndpointError, match="has 2 models; name one"):
        await backend.load(ModelName(upstream.base), Precision.FP16)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("Q4_K_M", Precision.INT4),
        ("4bit", Precision.INT4),
        ("Q8_0", Precision.INT8),
        ("BF16", Precision.BF16),
        ("", None),
        ("MXFP6", None),
    ],
)
def test_quantisations_are_read_as_precisions(told: str, meant: Precision | None) -> None:
    assert precision_of(told) is meant


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Sat, 01 Jan 2000 00:00:30 GMT", 30.0),
        ("Fri, 31 Dec 1999 00:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(told: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": told}, datetime(2000, 1, 1, tzinfo=UTC)) == seconds
