"""Have a model fill in a form: constrained where the backend can, asked for and repaired once where it cannot.

A constrained model can still fill in nonsense, so the caller's own check counts in both cases, and gets one repair.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from conductor.domain.errors import InvalidInput
from conductor.domain.generation import Finish, Generation, Message, Role
from conductor.domain.json import JsonObject, JsonValue
from conductor.serving.generations import Hearing
from conductor.serving.json_schema import json_in
from conductor.serving.ports import Runner, RunnerFacts

#: What is wrong with a value, a sentence each; empty where nothing is.
Check = Callable[[JsonValue], list[str]]


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of a form: the value (None where no JSON came), what is still wrong with it, and after how many asks."""

    value: JsonValue
    problems: tuple[str, ...]
    rounds: int


def with_form(asked: Generation, form: JsonObject, facts: RunnerFacts) -> Generation:
    """The request, constrained to the form or with the form in words behind its last message."""
    if facts.constrains:
        return replace(asked, form=form)
    last = asked.messages[-1]
    wanted = "Answer with one JSON value that satisfies this JSON Schema, and nothing else"
    told = f"{last.content}\n\n{wanted}:\n{_compact(form)}"
    return replace(asked, messages=(*asked.messages[:-1], replace(last, content=told)))


async def filled(hearing: Hearing, runner: Runner, asked: Generation, form: JsonObject, check: Check) -> Filled:
    """Ask, check, and ask once more with what was wrong; errors of the first ask as `Runner.generate`."""
    asked = with_form(asked, form, runner.facts)
    written = await hearing.hear(runner, asked)
    first = judged(written, check, hearing.finish)
    if not first.problems:
        return first
    complaint = "That does not satisfy the form:\n- " + "\n- ".join(first.problems) + "\nWrite the corrected JSON only."
    again = replace(
        asked,
        messages=(
            *asked.messages,
            Message(role=Role.ASSISTANT, content=written),
            Message(role=Role.USER, content=complaint),
        ),
    )
    try:
        written = await hearing.hear(runner, again)
    except InvalidInput:
        return first  # question, answer and complaint together do not fit the context
    second = judged(written, check, hearing.finish)
    # A repair that made things worse is none.
    worse = second.value is None or len(second.problems) > len(first.problems)
    kept = first if first.value is not None and worse else second
    return Filled(kept.value, kept.problems, rounds=2)


def judged(written: str, check: Check, finish: Finish = Finish.STOP) -> Filled:
    """What was written, as a value with its problems."""
    try:
        value = json_in(written)
    except InvalidInput as broken:
        cut = "; it was cut off at the length limit" if finish is Finish.LENGTH else ""
        return Filled(None, (broken.message + cut,), rounds=1)
    return Filled(value, tuple(check(value)), rounds=1)


def rows_of(value: JsonValue, name: str) -> list[JsonObject]:
    """The objects in the list `name` of an object; what is none is left out."""
    rows = value.get(name) if isinstance(value, dict) else value
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _compact(form: JsonObject) -> str:
    return json.dumps(form, ensure_ascii=False, separators=(",", ":"))
