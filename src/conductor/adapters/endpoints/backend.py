"""The `Backend` for models that run elsewhere: an address is looked at, and becomes a runner that speaks its language.

`http://host:port/v1#model`, `ollama://host:port#model`, `lmstudio://host:port#model` (`address`). Nothing is loaded here and
no memory of this machine is taken. Whether the model is there is seen before it counts as loaded; a server that lists no
models, or keeps its list to itself, is believed.
"""

from collections.abc import Sequence
from typing import Final

from conductor.adapters.endpoints.address import Address, is_address, parse_address
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.failures import EndpointError
from conductor.adapters.endpoints.lm_studio import ListedModel, lm_studio_models, openai_models
from conductor.adapters.endpoints.ollama import OllamaRunner, ollama_models, ollama_shown
from conductor.adapters.endpoints.openai_runner import OpenAIRunner
from conductor.domain.errors import NotFound
from conductor.domain.model import ModelName, Precision
from conductor.serving.ports import MemoryNeed, Runner, RunnerFacts

#: Believed where a server does not say how much its model reads; the server itself refuses what is too long.
ASSUMED_CONTEXT_TOKENS: Final = 8192
_SHOWN: Final = 8
_NOTHING: Final = MemoryNeed(weights_bytes=0, context_bytes=0, overhead_bytes=0)


class EndpointBackend:
    """Models behind addresses; the connections are the client's, and closed by who made it."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client

    @property
    def name(self) -> str:
        """For people."""
        return "endpoint"

    def can_load(self, model: ModelName) -> bool:
        """Whether it is an address."""
        return is_address(model)

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        """Nothing, if the model is there; errors as `Backend.need`."""
        await self._listed(parse_address(model))
        return _NOTHING

    async def load(self, model: ModelName, precision: Precision) -> Runner:
        """A runner for the model; its precision is the server's business. Errors as `Backend.load`."""
        address = parse_address(model)
        listed = await self._listed(address)
        facts = RunnerFacts(
            backend=self.name,
            device=address.base,
            precision=precision_of(listed.quantization),
            context_tokens=listed.context_tokens or ASSUMED_CONTEXT_TOKENS,
            memory_bytes=0,
            constrains=True,
            embeds=listed.embeds is not False,
            fills_in=True,
            model=model,
            sees=listed.sees is not False,
        )
        if address.dialect == "ollama":
            return OllamaRunner(self._client, origin=address.origin, model=listed.name, facts=facts)
        return OpenAIRunner(self._client, origin=address.origin, base=address.base, model=listed.name, facts=facts)

    async def _listed(self, address: Address) -> ListedModel:
        """The model as its server lists it.

        Raises:
            NotFound: it is not among the models there.
            EndpointError: the server does not answer, refuses the key, or has several models and none was named.
        """
        models = await self._models(address)
        if not address.model:
            if len(models) == 1:
                return models[0]
            raise EndpointError(
                f"{address.base} has {len(models)} models; name one: {address.base}#{_first(models) or 'model'}",
                again=False,
                field="model",
            )
        for model in models:
            if address.model == model.name or (address.dialect == "ollama" and model.name == f"{address.model}:latest"):
                return await self._with_context(address, model)
        if models:
            raise NotFound(f"{address.base} has no model {address.model!r}; it has {_first(models)}", field="model")
        return ListedModel(name=address.model)

    async def _models(self, address: Address) -> list[ListedModel]:
        if address.dialect == "lmstudio":
            return await lm_studio_models(self._client, address.origin)
        if address.dialect == "ollama":
            return [
                ListedModel(name=one.name, loaded=one.loaded_bytes > 0, quantization=one.quantization)
                for one in await ollama_models(self._client, address.origin)
            ]
        try:
            return await openai_models(self._client, address.origin, address.base)
        except EndpointError as failure:
            if address.model and failure.status in (404, 405, 501):
                return []  # it has no list
            raise

    async def _with_context(self, address: Address, model: ListedModel) -> ListedModel:
        if address.dialect != "ollama":
            return model
        shown = await ollama_shown(self._client, address.origin, model.name)
        return ListedModel(
            name=model.name,
            loaded=model.loaded,
            embeds="embedding" in shown.capabilities or None,
            context_tokens=shown.context_tokens,
            quantization=model.quantization,
            sees="vision" in shown.capabilities,
        )


def precision_of(quantization: str) -> Precision | None:
    """Our word for a server's: `Q4_K_M` → 4-bit, `F16` → FP16; None where there is none."""
    name = quantization.upper()
    exact = {"F32": Precision.FP32, "F16": Precision.FP16, "BF16": Precision.BF16}
    if name in exact:
        return exact[name]
    digits = [letter for letter in name if letter.isdigit()]
    return {"4": Precision.INT4, "8": Precision.INT8}.get(digits[0]) if digits else None


def _first(models: Sequence[ListedModel]) -> str:
    names = ", ".join(model.name for model in models[:_SHOWN])
    return f"{names} and {len(models) - _SHOWN} more" if len(models) > _SHOWN else names
