"""Prompts: beginnings of work that people choose from a menu, phrased so that a model uses the tools well."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """What a prompt is filled in with."""

    name: str
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPrompt:
    """One prompt; `resource` is the address of what is put beside its text, or empty."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    text: Callable[[Mapping[str, str]], str]
    resource: Callable[[Mapping[str, str]], str] = lambda _given: ""

    def document(self) -> Document:
        """As it is listed."""
        arguments = [
            {"name": each.name, "description": each.description, "required": each.required} for each in self.arguments
        ]
        return {"name": self.name, "title": self.title, "description": self.description, "arguments": arguments}

    def missing(self, given: Mapping[str, str]) -> Sequence[str]:
        """Required arguments that are not given."""
        return [each.name for each in self.arguments if each.required and not given.get(each.name)]


PROMPTS: Final = (
    WrittenPrompt(
        name="check_record",
        title="Check the record",
        description="Verify the signed record and say in plain words what that proves.",
        arguments=(),
        text=lambda _given: (
            "Verify the record of this Conductor installation with the tool `verify_ledger`, then read its head with "
            "`ledger_head`. Say in plain words whether every entry holds, how many there are, and which key signed them. "
            "If something is broken, name the place and say what must not be relied on any more."
        ),
    ),
    WrittenPrompt(
        name="daily_report",
        title="Report on the installation",
        description="What ran, what failed and why, and what deserves attention.",
        arguments=(Argument(name="focus", description="what to look at in particular", required=False),),
        text=lambda given: (
            "Write a short report on this Conductor installation from its tools: `status`, `list_nodes`, `list_tasks`. Look "
            "at every task that failed with `get_task` and say what went wrong and what to do. Use only figures that the "
            "tools returned." + (f" Look in particular at: {given['focus']}" if given.get("focus") else "")
        ),
    ),
    WrittenPrompt(
        name="explain_task",
        title="Explain a task",
        description="Why a task ran where it did, and how that turned out.",
        arguments=(Argument(name="task_id", description="id of the task, or `last`"),),
        text=lambda given: (
            f"Explain to somebody who did not ask for the task {given['task_id']} why it was decided so and how it turned "
            "out. The full reasons are attached; `get_task` has the result and the end of the output."
        ),
        resource=lambda given: f"conductor://decisions/{given['task_id']}",
    ),
    WrittenPrompt(
        name="plan_work",
        title="Plan work",
        description="Find out where work would run best, and run it after agreement.",
        arguments=(Argument(name="work", description="the work in plain words"),),
        text=lambda given: (
            f"I want this done on my machines: {given['work']}\n\nAsk `decide` where it would run best and how long it "
            "would take, and show me device, machine, duration and the reasons in a few lines. Propose the exact command. "
            "Run it with `run_task` only after I have agreed, follow it with `get_task`, and tell me how it ended."
        ),
    ),
)
