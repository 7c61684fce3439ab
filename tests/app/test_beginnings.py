"""What requests begin with, told by the engines themselves."""

from typing import Any, cast

import pytest

from conductor.app.serving.beginnings import beginning
from conductor.app.serving.engine_shelf import EngineShelf, installed_engines
from conductor.domain.generation import Message, Role
from conductor.domain.model import Category
from conductor.serving.engine import Engine, ModelDesk
from conductor.serving.engines.conversational_chat import ConversationalChat
from conductor.serving.ports import RunnerFacts

NOBODY = cast(ModelDesk, None)  # nothing is generated here, so no engine asks for a model


@pytest.fixture(scope="module")
def shelf() -> EngineShelf:
    return EngineShelf(installed_engines(), NOBODY, persona="You are Ada.")


def test_the_persona_is_what_chats_begin_with(shelf: EngineShelf) -> None:
    assert beginning(shelf, Category("conversational_chat")) == (Message(role=Role.SYSTEM, content="You are Ada."),)


@pytest.mark.parametrize("category", sorted(installed_engines()))
def test_what_is_told_is_what_the_engine_asks_first(shelf: EngineShelf, category: Category) -> None:
    told = beginning(shelf, category)
    if category in ("translation", "code_completion"):  # depends on the language; begins with the code
        assert told == ()
        return
    (turn,) = told
    engine = shelf[category]
    assert turn.content == engine.system_prompt(engine.options_type())
    assert len(turn.content) > 10


@pytest.mark.parametrize(
    "category", ["conversational_chat", "general_reasoning", "mathematical_reasoning", "summarization"]
)
def test_a_request_without_options_really_begins_like_that(shelf: EngineShelf, category: str) -> None:
    facts = RunnerFacts(
        backend="none", device="cpu", precision=None, context_tokens=8_192, memory_bytes=0, constrains=False,
        embeds=False, fills_in=False,
    )  # fmt: skip
    engine = shelf[Category(category)]
    one = engine.ask("What is new in the world?", engine.options_type(), facts)
    assert one.messages[:1] == beginning(shelf, Category(category))
    assert one.messages[1].role is Role.USER


def test_a_category_without_an_engine_and_an_engine_that_fails_begin_with_nothing() -> None:
    class Broken(ConversationalChat):
        def system_prompt(self, options: Any) -> str:
            raise ZeroDivisionError

    engines: dict[Category, Engine[Any]] = {Category("broken"): Broken(NOBODY)}
    assert beginning(engines, Category("broken")) == ()
    assert beginning(engines, Category("embeddings")) == ()
