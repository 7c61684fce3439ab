"""Say what a model, an engine and an address of the model table need to be installed. Pure: looks at nothing.

The versions stand here once more than in the package's own list of extras, because a checkout may be older than what is
installed; a test compares the two. What is there is found by `adapters.installed`, judged in `app.doctor`.

Covered: our own engines and backends. Not covered: what plug-ins need, which they say themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from conductor.domain.model import Category, ModelName, Precision
from conductor.domain.server_program import split_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A distribution of the Python package index, and its versions that will do (PEP 440; empty: any)."""

    name: str
    versions: str

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.name}{self.versions}"


#: What each extra consists of. torch is pinned exactly: results of another one were not compared.
EXTRAS: Final[Mapping[str, tuple[Package, ...]]] = MappingProxyType({
    "hf": (
        Package(name="torch", versions="==2.13.0"),
        Package(name="transformers", versions=">=5.23,<6"),
        Package(name="accelerate", versions=">=1.12,<2"),
        Package(name="safetensors", versions=">=0.8"),
        Package(name="llguidance", versions=">=1.9,<2"),
        Package(name="jinja2", versions=">=3.1"),
    ),
    "quantised": (Package(name="torch", versions="==2.13.0"), Package(name="bitsandbytes", versions=">=0.50,<1")),
    "gguf": (Package(name="gguf", versions=">=0.17"), Package(name="xllamacpp", versions=">=2026.10")),
    "math": (Package(name="sympy", versions=">=1.14"),),
    "languages": (Package(name="lingua-language-detector", versions=">=2.1,<3"),),
    "schema": (Package(name="jsonschema", versions=">=4.23,<5"),),
    "postgres": (Package(name="asyncpg", versions=">=0.30,<1"),),
})  # fmt: skip

#: Used for models over several cards, and for those that bitsandbytes rounds.
_SEVERAL_DEVICES: Final = frozenset({"accelerate"})

#: What an engine does with an extra, and does without where it is missing.
_ENGINES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType({
    "mathematical_reasoning": (("math", "checks final answers"),),
    "translation": (("languages", "tells the language of a text"),),
    "data_extraction": (("schema", "checks answers against a JSON schema"),),
})  # fmt: skip


class Place(StrEnum):
    """Where a model is run, by its name alone."""

    ENDPOINT = "endpoint"
    LLAMA_CPP = "llama.cpp"
    TRANSFORMERS = "transformers"
    LLAMA_SERVER = "llama-server"
    VLLM = "vllm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraNeed:
    """An extra that something needs.

    Args:
        why: what it is for, as the end of "needed: it …".
        essential: whether nothing works without it; otherwise only what `why` says is missing.
    """

    extra: str
    why: str
    essential: bool

    @property
    def packages(self) -> tuple[Package, ...]:
        """What it consists of."""
        return EXTRAS[self.extra]


#: On processors 8 bits are torch's own; on cards both are of this extra, but from here no card can be seen.
_ROUNDING: Final = (ExtraNeed(extra="quantised", why="holds weights in 4 bits (8-bit on processors)", essential=False),)


def place_of(model: ModelName) -> Place:
    """What runs a model of this name; a program may take the place of our own engine where the name asks for none."""
    program, _ = split_program(model)
    if program is not None:
        return Place(program.value)
    if "://" in model:
        return Place.ENDPOINT
    return Place.LLAMA_CPP if model.lower().endswith(".gguf") else Place.TRANSFORMERS


def needs_of(
    model: ModelName, category: Category | None = None, precision: Precision | None = None
) -> tuple[ExtraNeed, ...]:
    """The extras that a model needs, those of its precision, and those of the engine of its category."""
    by_place = {
        Place.ENDPOINT: (),
        Place.LLAMA_CPP: (ExtraNeed(extra="gguf", why="runs GGUF files", essential=True),),
        Place.TRANSFORMERS: (ExtraNeed(extra="hf", why="runs models of Hugging Face", essential=True),),
        Place.LLAMA_SERVER: (),
        Place.VLLM: (),
    }
    engine = _ENGINES.get(category or "", ())
    place = place_of(model)
    rounding = _ROUNDING if place is Place.TRANSFORMERS and precision is Precision.INT4 else ()
    return (*by_place[place], *rounding, *(ExtraNeed(extra=e, why=why, essential=False) for e, why in engine))


def unneeded(precision: Precision, cards: int) -> frozenset[str]:
    """Of the packages, those without which a model of this precision runs on a machine with so many graphics cards."""
    rounded = precision is Precision.INT4 or (precision is Precision.INT8 and cards > 0)
    return frozenset() if cards > 1 or rounded else _SEVERAL_DEVICES


def optional_needs() -> tuple[ExtraNeed, ...]:
    """What an installation without a model table could have."""
    own = [
        ExtraNeed(extra="hf", why="runs models of Hugging Face", essential=False),
        *_ROUNDING,
        ExtraNeed(extra="gguf", why="runs GGUF files", essential=False),
    ]
    return (*own, *(ExtraNeed(extra=e, why=why, essential=False) for each in _ENGINES.values() for e, why in each))


def satisfies(version: str, versions: str) -> bool:
    """Whether an installed version is among those that will do; one that cannot be read is not. `2.13.0+cpu` is 2.13.0."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except InvalidVersion:
        return False
