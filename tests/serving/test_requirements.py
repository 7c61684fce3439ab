"""What names of models and categories need."""

import pytest

from conductor.domain.model import Category, ModelName, Precision
from conductor.serving.requirements import EXTRAS, Place, needs_of, optional_needs, place_of, satisfies


@pytest.mark.parametrize(
    ("name", "place", "extras"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", Place.TRANSFORMERS, ["hf"]),
        ("~/models/mine", Place.TRANSFORMERS, ["hf"]),
        ("./tiny.GGUF", Place.LLAMA_CPP, ["gguf"]),
        ("ollama://127.0.0.1:11434#llama3.1:8b", Place.ENDPOINT, []),
        ("http://127.0.0.1:8001/v1#a.gguf", Place.ENDPOINT, []),
    ],
)
def test_the_name_says_what_runs_a_model(name: str, place: Place, extras: list[str]) -> None:
    assert place_of(ModelName(name)) is place
    assert [need.extra for need in needs_of(ModelName(name))] == extras
    assert all(need.essential for need in needs_of(ModelName(name)))


def test_an_engine_adds_what_it_checks_with_and_does_without() -> None:
    needs = needs_of(ModelName("http://127.0.0.1/v1#m"), Category("mathematical_reasoning"))

    assert [(need.extra, need.essential) for need in needs] == [("math", False)]
    assert needs_of(ModelName("http://127.0.0.1/v1#m"), Category("creative_writing")) == ()


def test_four_bits_need_an_extra_where_torch_computes_and_eight_are_had_instead() -> None:
    hub, file = ModelName("owner/name"), ModelName("a.gguf")

    assert [(need.extra, need.essential) for need in needs_of(hub, None, Precision.INT4)] == [
        ("hf", True),
        ("quantised", False),
    ]
    assert [need.extra for need in needs_of(hub, None, Precision.INT8)] == ["hf"]
    assert [need.extra for need in needs_of(file, None, Precision.INT4)] == ["gguf"]


def test_every_need_names_an_extra_that_is_known() -> None:
    assert {need.extra for need in optional_needs()} <= set(EXTRAS)
    assert not any(need.essential for need in optional_needs())


@pytest.mark.parametrize(
    ("found", "wanted", "good"),
    [
        ("2.13.0", "==2.13.0", True),
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.13.1", "==2.13.0", False),
        ("5.23.0", ">=5.23,<6", True),
        ("6.0.0", ">=5.23,<6", False),
        ("5.9", ">=5.23,<6", False),
        ("2.0rc1", ">=1", True),
        ("of yesterday", ">=1", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_as_pip_compares_them(found: str, wanted: str, good: bool) -> None:
    assert satisfies(found, wanted) is good
