"""Models of an LM Studio, or of any OpenAI-compatible server: its own list v1 (0.4 and later), then v0, then `/v1/models`.

Answers themselves come through its OpenAI-compatible side (`openai_runner`). What a list does not say stays empty; a row
that cannot be read is left out. Source: LM Studio's REST API documentation, v1 and v0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.domain.json import JsonValue

_LIST_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One model as a server lists it.

    Args:
        loaded: None where the list does not say.
        embeds: whether it is for embeddings; None where the list does not say.
        context_tokens: longest prompt and answer, as loaded where it is; 0 where the list does not say.
        quantization: in the server's words; empty where the list does not say.
        sees: whether it takes pictures; None where the list does not say.
        owned_by: what `/v1/models` says; `vllm`, `llamacpp`.
    """

    name: str
    loaded: bool | None = None
    embeds: bool | None = None
    context_tokens: int = 0
    quantization: str = ""
    size_bytes: int = 0
    owned_by: str = ""
    sees: bool | None = None


async def lm_studio_models(client: EndpointClient, origin: str) -> list[ListedModel]:
    """What an LM Studio has, by the newest list it knows.

    Raises:
        EndpointError: none of the lists can be had.
    """
    for path, read in (("/api/v1/models", read_v1), ("/api/v0/models", read_v0)):
        try:
            return read(await client.document(origin, "GET", f"{origin}{path}", within_s=_LIST_WITHIN_S))
        except EndpointError as failure:
            if failure.status is None and failure.again:
                raise  # it cannot be reached at all; an older list would not be either
    return await openai_models(client, origin, f"{origin}/v1")


async def openai_models(client: EndpointClient, origin: str, base: str) -> list[ListedModel]:
    """What `/models` below a base lists.

    Raises:
        EndpointError: it cannot be had.
    """
    return read_openai(await client.document(origin, "GET", f"{base}/models", within_s=_LIST_WITHIN_S))


def read_v1(document: JsonValue) -> list[ListedModel]:
    """`{"models": [{"key", "type", "loaded_instances", …}]}`.

    Raises:
        EndpointError: it has another form.
    """
    return [_v1(row) for row in _rows(document, "models", "key")]


def read_v0(document: JsonValue) -> list[ListedModel]:
    """`{"data": [{"id", "type", "state", …}]}`, where `state` tells it from OpenAI's.

    Raises:
        EndpointError: it has another form.
    """
    return [
        ListedModel(
            name=row["id"],
            loaded=row.get("state") == "loaded",
            embeds=row.get("type") == "embeddings",
            context_tokens=_number(row.get("loaded_context_length")) or _number(row.get("max_context_length")),
            quantization=str(row.get("quantization") or ""),
            sees=row.get("type") == "vlm",
        )
        for row in _rows(document, "data", "id")
    ]


def read_openai(document: JsonValue) -> list[ListedModel]:
    """`{"data": [{"id", …}]}`, with what vLLM and llama.cpp add.

    Raises:
        EndpointError: it has another form.
    """
    found = []
    for row in _rows(document, "data", "id"):
        meta = _mapping(row.get("meta"))
        found.append(
            ListedModel(
                name=row["id"],
                context_tokens=_number(row.get("max_model_len")) or _number(meta.get("n_ctx_train")),
                size_bytes=_number(meta.get("size")),
                owned_by=str(row.get("owned_by") or ""),
            )
        )
    return found


def _v1(row: Mapping[str, Any]) -> ListedModel:
    instances = [one for one in row.get("loaded_instances") or () if isinstance(one, Mapping)]
    loaded_context = max((_number(_mapping(one.get("config")).get("context_length")) for one in instances), default=0)
    return ListedModel(
        name=row["key"],
        loaded=bool(instances),
        embeds=row.get("type") == "embedding",
        context_tokens=loaded_context or _number(row.get("max_context_length")),
        quantization=str(_mapping(row.get("quantization")).get("name") or ""),
        size_bytes=_number(row.get("size_bytes")),
        sees=_truth(_mapping(row.get("capabilities")).get("vision")),
    )


def _rows(document: JsonValue, field: str, name: str) -> list[Mapping[str, Any]]:
    rows: Any = document.get(field) if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise EndpointError("what should be a list of models is none; check the address", again=False)
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get(name), str)]


def _mapping(told: object) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _truth(told: object) -> bool | None:
    return told if isinstance(told, bool) else None


def _number(told: object) -> int:
    return told if isinstance(told, int) and told > 0 else 0
