from conductor.adapters.clock import SystemClock
from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.endpoints.relay import Relay
from conductor.app.compose.serving import places
from conductor.app.serving.gateway import Gateway
from conductor.domain.model import Category, ModelName, Precision, ServedModel
from conductor.serving.traffic.accounting import Accounting
from conductor.serving.traffic.limits import Allowance, Limits


def a_row(category: str, name: str) -> ServedModel:
    return ServedModel(
        category=Category(category),
        title="Both",
        name=ModelName(name),
        memory_bytes=None,
        stay_loaded=False,
        precision=Precision.FP16,
    )


def upstreams_of(*rows: ServedModel) -> dict[str, list[str]]:
    """By every name that a client may use."""
    gateway = Gateway(
        Relay(EndpointClient(keys=lambda origin: None)),
        models=places(rows),
        limits=Limits(Allowance()),
        accounting=Accounting(),
        clock=SystemClock(),
    )
    return {name: [one["name"] for one in found] for name, found in gateway.stats()["upstreams"].items()}


def test_one_model_for_two_categories_is_one_upstream_of_its_title_and_name() -> None:
    address = "http://127.0.0.1:9/v1#steady"

    found = upstreams_of(a_row("conversational_chat", address), a_row("general_reasoning", address))

    assert found == {name: [address] for name in ("conversational_chat", "general_reasoning", "Both", address)}


def test_two_models_of_one_title_share_its_work() -> None:
    one, two = "http://127.0.0.1:9/v1#one", "http://127.0.0.1:9/v1#two"

    assert sorted(upstreams_of(a_row("a", one), a_row("b", two))["Both"]) == [one, two]


def test_models_that_run_here_are_none_of_the_gateway() -> None:
    assert upstreams_of(a_row("a", "/models/mine.gguf"), a_row("b", "ollama://127.0.0.1:11434#llama3.2:3b")) == {}
