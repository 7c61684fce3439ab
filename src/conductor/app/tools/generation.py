"""Tools that write: `generate_text`, and one for each category that has an engine.

What generates is handed in as a `ServingDesk`. Without one the tools are offered all the same and say that no model serves
the category: a client's list of tools does not change with the models that happen to be configured.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from conductor.app.serving.open_call import Call
from conductor.app.tools.offered import Arguments, OfferedTool, Report
from conductor.app.whole_numbers import WHOLE
from conductor.domain.errors import NotFound
from conductor.domain.generation import Piece
from conductor.domain.json import JsonObject
from conductor.domain.model import Category, ModelState, ServedModel
from conductor.serving.engine import Answer

AUTO: Final = Category("auto")
#: So often at most is told how much is written.
_TELL_EVERY_S: Final = 0.25

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
    "summarization": "Shorten a text to what matters.",
    "translation": "Translate a text.",
}


#: What goes into `prompt`, where it is more than a wish in words.
_PROMPTS: Final[Mapping[str, str]] = {
    "code_completion": "the code before the cursor",
    "code_generation": "what the code shall do",
    "data_extraction": "the text that the data is taken from; options.schema says what is wanted",
    "legal_analysis": "the contract or document, whole",
    "mathematical_reasoning": "the problem",
    "question_answering": "the question; options.context holds the text that answers it",
    "scientific_research": "the question, or the manuscript",
    "summarization": "the text to shorten",
    "translation": "the text to translate; options.target says into which language",
}


class ServingDesk(Protocol):
    """What generates text here."""

    def categories(self) -> Mapping[str, str]:
        """Every category that has an engine, with its purpose in a sentence."""
        ...

    def models(self) -> Sequence[tuple[ServedModel, ModelState]]:
        """The rows of the model table, and what has become of each."""
        ...

    def options_form(self, category: Category) -> JsonObject:
        """JSON Schema of the further options that the category's engine takes; empty if there is none."""
        ...

    async def work(
        self, wanted: str, prompt: str, *, options: JsonObject | None = None, said: Mapping[str, Any] | None = None
    ) -> Call[Piece | Answer]:
        """Have an engine answer; the parts are pieces, and the answer at the end.

        Args:
            wanted: a category; `auto` lets the desk choose.
            options: of the category's engine, by name.
            said: fields of `Sampling` that the caller set; what suits the engine stands for the others.

        Raises:
            NotFound: no model serves the category. Reading the parts raises `InvalidInput` where prompt or options make no
                sense for the engine, and `ModelError`, `Overloaded` or `Exhausted` where the model cannot be used.
        """
        ...


class WriteArguments(Arguments):
    """Of every tool that writes."""

    prompt: Annotated[
        str, Field(min_length=1, max_length=1_000_000, description="what to write, or the text to work on")
    ]
    max_tokens: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="at most so many tokens are written"), WHOLE
    ] = None
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
    seed: Annotated[int | None, Field(ge=0, lt=2**63, description="the same seed gives the same answer"), WHOLE] = None
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


def generation_tools(
    serving: ServingDesk | None, now_s: Callable[[], float] = time.monotonic
) -> list[OfferedTool[Any]]:
    """`generate_text`, and `generate_CATEGORY` for each category.

    Args:
        now_s: monotonic seconds.
    """
    categories = _CATEGORIES if serving is None else serving.categories()
    listed = ", ".join(sorted(categories))
    writer = _Writer(serving, now_s)
    every = [
        _tool(
            "generate_text",
            "Generate text",
            "Have a language model that runs in this installation, or is connected to it, write: for second opinions, for "
            "texts that must not leave these machines, or for work that a smaller model can do. Prefer generate_CATEGORY "
            f"where the kind of work is clear; it checks more. Categories: {listed}; `auto` chooses one. list_models tells "
            "which are served.",
            GenerateArguments,
            lambda given, report: writer.write(Category(given.category), given, report),
        )
    ]
    for category, purpose in categories.items():
        words = purpose[:1].upper() + purpose[1:]
        every.append(
            _tool(
                f"generate_{category}",
                category.replace("_", " ").capitalize(),
                f"{words if words.endswith('.') else f'{words}.'} A model of this installation does it.",
                WriteArguments,
                partial(writer.write, Category(category)),
                partial(_forms, serving, category),
            )
        )
    return every


def _tool(
    name: str,
    title: str,
    description: str,
    arguments: type[Arguments],
    act: Callable[..., Any],
    forms: Callable[[], Mapping[str, JsonObject]] = dict,
) -> OfferedTool[Any]:
    return OfferedTool(
        name=name,
        title=title,
        description=description,
        arguments=arguments,
        answer=Written,
        act=act,
        reports=True,
        repeatable=False,
        spoken="text",
        remarks="notes",
        forms=forms,
    )


def _forms(serving: ServingDesk | None, category: str) -> dict[str, JsonObject]:
    """What is known of the arguments of a category's tool."""
    form = {} if serving is None else serving.options_form(Category(category))
    prompt = _PROMPTS.get(category)
    return ({"options": form} if form else {}) | ({} if prompt is None else {"prompt": {"description": prompt}})


class _Writer:
    """What these tools do."""

    def __init__(self, serving: ServingDesk | None, now_s: Callable[[], float]) -> None:
        self._serving, self._now_s = serving, now_s

    async def write(self, category: Category, given: WriteArguments, report: Report) -> Mapping[str, Any]:
        serving = self._serving
        if serving is None or (category != AUTO and category not in serving.categories()):
            what = "a model" if category == AUTO else f"a model for the category {category!r}"
            known = "" if serving is None else f"; the categories are {', '.join(sorted(serving.categories()))}"
            raise NotFound(
                f"no model serves this: name {what} in the model table of SETTINGS.md{known}", field="category"
            )
        try:
            call = await serving.work(category, given.prompt, options=given.options, said=_said(given))
        except NotFound as unserved:  # who asks here names a category, never a model
            raise NotFound(unserved.message, field="category", details=unserved.details) from None
        answer = await self._followed(call, report)
        return Written(
            text=answer.text,
            category=str(call.decision.category),
            model=str(call.decision.model),
            finish=answer.finish.value,
            facts=dict(answer.facts),
            notes=list(answer.notes),
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
        )

    async def _followed(self, call: Call[Piece | Answer], report: Report) -> Answer:
        """The answer; meanwhile it is told who writes and how much is written."""
        answer, written, told_s = None, 0, self._now_s()
        report(0, f"{call.decision.title} was asked ({call.decision.category}: {call.decision.why})")
        async with aclosing(call.parts) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    answer = part
                    continue
                written += len(part.text)
                if written and self._now_s() - told_s >= _TELL_EVERY_S:
                    told_s = self._now_s()
                    report(written, f"{call.decision.title} has written {written:,} characters", detail=True)
        assert answer is not None, "a stream ends with its answer"
        return answer


def _said(given: WriteArguments) -> dict[str, Any]:
    """What the caller says about sampling."""
    said = given.model_dump(exclude={"prompt", "options", "category"}, exclude_none=True)
    stop = tuple(said.pop("stop", ()))
    return said | ({"stop": stop} if stop else {})
