"""General reasoning: the answer first, the reasons apart, so that either can be read, shown or kept without the other.

Covered: models that keep to the form, models that think aloud in tags, and models that do neither (said in a note).
Not covered: whether the reasons are true, or were the model's own reasons; nothing can tell from the outside.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from conductor.domain.generation import Sampling
from conductor.domain.json import JsonObject
from conductor.domain.model import Category
from conductor.serving.engine import Answer, Engine, EngineOptions
from conductor.serving.texts.thoughts import thoughts_apart

_HEADING: Final = re.compile(
    r"^[ \t]*[#*_]{0,4}[ \t]*(?P<name>answer|reasoning|reasons|assumptions)"
    r"[ \t]*[*_]{0,2}[ \t]*:[ \t]*[*_]{0,2}[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_POINT: Final = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+")
_NAMES: Final = {"answer": "answer", "reasoning": "reasoning", "reasons": "reasoning", "assumptions": "assumptions"}


class Depth(StrEnum):
    """How much reasoning is asked for."""

    BRIEF = "brief"
    NORMAL = "normal"
    THOROUGH = "thorough"


_DEPTHS: Final = {
    Depth.BRIEF: "Give the one or two reasons that decide.",
    Depth.NORMAL: "Give the reasons in the order in which they build on each other.",
    Depth.THOROUGH: "Give every step, the alternatives you rejected and why, and what would change the answer.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningOptions(EngineOptions):
    """How much reasoning is asked for."""

    depth: Depth = Depth.NORMAL


class GeneralReasoning(Engine[ReasoningOptions]):
    """Answers questions and says why."""

    category = Category("general_reasoning")
    purpose = "Answers questions of any kind: the answer first, then the reasons and assumptions, each apart."
    options_type = ReasoningOptions
    sampling: ClassVar[Sampling] = Sampling(temperature=0.3, top_p=0.95)

    def system_prompt(self, options: ReasoningOptions) -> str:
        """The form of the answer."""
        return (
            "You answer questions. Write in the user's language, but keep these three headings in English:\n"
            "Answer: the answer itself, as short as it can be.\n"
            "Reasoning: numbered points, one reason each. " + _DEPTHS[options.depth] + "\n"
            "Assumptions: what you took for granted, or `none`.\n"
            "If you do not know, the answer is that you do not know."
        )

    def conclude(self, prompt: str, options: ReasoningOptions, written: str) -> Answer:
        """Parts of the answer; `text` is what was said, without what was thought aloud."""
        thoughts, said = thoughts_apart(written)
        parts = _parts(said)
        notes: list[str] = []
        if "answer" not in parts:
            notes.append("the model did not keep answer and reasoning apart; all it said is the answer")
        elif not parts.get("reasoning"):
            notes.append("the model gave no reasons")
        assumptions = [one for one in _points(parts.get("assumptions", "")) if one.strip(" .`").lower() != "none"]
        facts: JsonObject = {
            "answer": parts.get("answer", said),
            "reasoning": parts.get("reasoning", ""),
            "points": _points(parts.get("reasoning", "")),
            "assumptions": assumptions,
            **({"thoughts": thoughts} if thoughts else {}),
        }
        return Answer(text=said, facts=facts, notes=tuple(notes))


def _parts(said: str) -> dict[str, str]:
    """Text under each heading; what comes before the first belongs to none, and a repeated heading goes on."""
    parts: dict[str, str] = {}
    marks = list(_HEADING.finditer(said))
    for at, mark in enumerate(marks):
        name = _NAMES[mark["name"].lower()]
        end = marks[at + 1].start() if at + 1 < len(marks) else len(said)
        text = said[mark.end() : end].strip()
        parts[name] = f"{parts[name]}\n{text}" if name in parts else text
    return parts


def _points(text: str) -> list[str]:
    """Numbered or marked points; a line without a mark goes on with the point before it."""
    points: list[str] = []
    for line in text.splitlines():
        mark = _POINT.match(line)
        if mark or not points:
            points.append(line[mark.end() if mark else 0 :].strip())
        elif line.strip():
            points[-1] += " " + line.strip()
    return [point for point in points if point]
