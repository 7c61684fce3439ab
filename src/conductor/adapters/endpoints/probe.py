"""Find out what kind of server answers at an address: Ollama, LM Studio, llama.cpp server, vLLM, or just OpenAI-compatible.

Each is asked for what only it has, from the most particular on; nothing is generated, loaded or changed. One that answers
none of these, or wants a key first, is told as what it is.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError, parsed
from conductor.adapters.endpoints.lm_studio import ListedModel, openai_models, read_v0, read_v1
from conductor.adapters.endpoints.ollama import ollama_models

_WITHIN_S: Final = 5.0
_MOST_BYTES: Final = 4 * 1024 * 1024


class ServerKind(StrEnum):
    """What answers."""

    OLLAMA = "ollama"
    LM_STUDIO = "lm-studio"
    LLAMA_CPP = "llama.cpp"
    VLLM = "vllm"
    OPENAI = "openai-compatible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found at an address; `version` is empty where it does not say."""

    kind: ServerKind
    version: str
    models: tuple[ListedModel, ...]


async def probe(client: EndpointClient, origin: str, base: str) -> Found:
    """Look who answers.

    Args:
        origin: `http://host:port`.
        base: where the OpenAI-compatible side would be, `http://host:port/v1`.

    Raises:
        EndpointError: nobody does, it refuses the key, or it is no server of language models.
    """
    version = await _field(client, origin, "/api/version", "version")
    if version is not None:
        listed = await ollama_models(client, origin)
        models = tuple(
            ListedModel(
                name=one.name, loaded=one.loaded_bytes > 0, quantization=one.quantization, size_bytes=one.size_bytes
            )
            for one in listed
        )
        return Found(kind=ServerKind.OLLAMA, version=version, models=models)
    for path, read in (("/api/v1/models", read_v1), ("/api/v0/models", read_v0)):
        document = await _document(client, origin, path)
        if document is not None:
            try:
                return Found(kind=ServerKind.LM_STUDIO, version="", models=tuple(read(document)))
            except EndpointError:
                continue  # something else has this path
    models = tuple(await openai_models(client, origin, base))
    owners = {model.owned_by for model in models}
    if "llamacpp" in owners:
        build = await _field(client, origin, "/props", "build_info")
        return Found(kind=ServerKind.LLAMA_CPP, version=build or "", models=models)
    version = await _field(client, origin, "/version", "version")
    if "vllm" in owners or version is not None:
        return Found(kind=ServerKind.VLLM, version=version or "", models=models)
    return Found(kind=ServerKind.OPENAI, version="", models=models)


async def _document(client: EndpointClient, origin: str, path: str) -> Any:
    """The JSON at a path; None where there is none. A server that cannot be reached raises."""
    status, _, body = await client.ask(origin, "GET", f"{origin}{path}", within_s=_WITHIN_S, most_bytes=_MOST_BYTES)
    if status != 200:
        return None
    try:
        return parsed(body, path)
    except EndpointError:
        return None


async def _field(client: EndpointClient, origin: str, path: str, name: str) -> str | None:
    document = await _document(client, origin, path)
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None
