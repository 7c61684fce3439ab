"""Tools that write: `generate_text`, and one for each category that has an engine.

What generates is handed in as a `ServingDesk`. Without one the tools are offered all the same and say that no model serves
the category: a client's list of tools does not change with the models that happen to be configured.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from conductor.app.tools.offered import Arguments, OfferedTool
from conductor.domain.errors import NotFound
from conductor.domain.generation import Sampling
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.engine import Answer

AUTO: Final = Category("auto")

#: Offered where no desk says which there are.
_CATEGORIES: Final[Mapping[str, str]] = {
    "code_completion": "Continue or fill in code.",
    "code_generation": "Write code from a description.",
    "conversational_chat": "Converse.",
    "creative_writing": "Write stories, verse and other prose.",
    "data_extraction": "Take facts out of a text into a given form.",
    "general_reasoning": "Think a question through.",
    "legal_analysis": "Read contracts: clauses, risks, obligations.",
    "mathematical_reasoning": "Solve mathematics step by step and check the result.",
    "question_answering": "Answer a question from a given text.",
    "scientific_research": "Review research: methods, findings, citations.",
    "summarisation": "Shorten a text to what matters.",
    "translation": "Translate a text.",
}


class ServingDesk(Protocol):
    """What generates text here."""

    def categories(self) -> Mapping[str, str]:
        """Every category that has an engine, with its purpose in a sentence."""
        ...

    def models(self) -> Sequence[tuple[ServedModel, ModelState]]:
        """The rows of the model table, and what has become of each."""
        ...

    async def answer(
        self, category: Category, prompt: str, *, sampling: Sampling | None, options: JsonObject
    ) -> tuple[Category, str, Answer]:
        """Answer in one piece: the category that answered (`auto` lets the desk choose), the model's name, the answer.

        Args:
            sampling: None takes what suits the engine.
            options: further options of the category's engine, by name.

        Raises:
            NotFound: no model serves the category.
            InvalidInput: prompt or options make no sense for the engine.
            ModelError, Overloaded, Exhausted: the model cannot be used now, or ever.
        """
        ...


class WriteArguments(Arguments):
    """Of every tool that writes."""

    prompt: Annotated[
        str, Field(min_length=1, max_length=1_000_000, description="what to write, or the text to work on")
    ]
    max_tokens: Annotated[int | None, Field(ge=1, le=1_000_000, description="at most so many tokens are written")] = (
        None
    )
    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    options: Annotated[
        dict[str, Any], Field(default_factory=dict, description="further options of the category's engine, by name")
    ]


class GenerateArguments(WriteArguments):
    """Of `generate_text`."""

    category: Annotated[
        str, Field(min_length=1, max_length=100, description="what the model is for; `auto` lets Conductor choose")
    ] = "auto"
    top_p: Annotated[float | None, Field(gt=0, le=1, allow_inf_nan=False)] = None
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10, allow_inf_nan=False)] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63, description="the same seed gives the same answer")] = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(default_factory=list, max_length=4, description="texts that end the answer"),
    ]


class Written(TypedDict):
    """What was written and by which model; `facts` go beyond the text, `notes` say what could not be checked."""

    text: str
    category: str
    model: str
    finish: str
    facts: dict[str, Any]
    notes: list[str]
    prompt_tokens: int
    completion_tokens: int


def generation_tools(serving: ServingDesk | None) -> list[OfferedTool[Any]]:
    """`generate_text`, and `generate_CATEGORY` for each category."""
    categories = _CATEGORIES if serving is None else serving.categories()
    listed = ", ".join(sorted(categories))
    every = [
        _tool(
            "generate_text",
            "Generate text",
            f"Have a language model of this installation write. Categories: {listed}; `auto` chooses one.",
            GenerateArguments,
            lambda given: _write(serving, Category(given.category), given),
        )
    ]
    for category, purpose in categories.items():
        title = category.replace("_", " ").capitalize()
        act = partial(_write, serving, Category(category))
        every.append(_tool(f"generate_{category}", title, purpose, WriteArguments, act))
    return every


def _tool(
    name: str, title: str, description: str, arguments: type[Arguments], act: Callable[[Any], Any]
) -> OfferedTool[Any]:
    return OfferedTool(
        name=name,
        title=title,
        description=description,
        arguments=arguments,
        answer=Written,
        act=act,
        repeatable=False,
        spoken="text",
    )


async def _write(serving: ServingDesk | None, category: Category, given: WriteArguments) -> Mapping[str, Any]:
    if serving is None or (category != AUTO and category not in serving.categories()):
        what = "a model" if category == AUTO else f"a model for the category {category!r}"
        known = "" if serving is None else f"; the categories are {', '.join(sorted(serving.categories()))}"
        raise NotFound(f"no model serves this: name {what} in the model table of SETTINGS.md{known}", field="category")
    chosen, model, answer = await serving.answer(
        category, given.prompt, sampling=_sampling(given), options=given.options
    )
    return Written(
        text=answer.text,
        category=str(chosen),
        model=model,
        finish=answer.finish.value,
        facts=dict(answer.facts),
        notes=list(answer.notes),
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
    )


def _sampling(given: WriteArguments) -> Sampling | None:
    """How the caller wants tokens chosen; None where he says nothing."""
    said = given.model_dump(exclude={"prompt", "options", "category"}, exclude_none=True)
    said |= {"stop": tuple(said["stop"])} if "stop" in said else {}
    return Sampling(**said) if any(value != () for value in said.values()) else None
