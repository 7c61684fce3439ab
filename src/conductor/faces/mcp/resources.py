"""Resources: what can be read by an address. Each is the answer of a tool that changes nothing, so nothing is told twice.

`conductor://status`, `/nodes`, `/models`, `/tasks`, `/ledger`; by id `conductor://tasks/ID`, `conductor://decisions/ID`,
`conductor://receipts/ID`, `conductor://ledger/entries/INDEX`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from conductor.app.tool_list import ToolList
from conductor.domain.errors import InvalidInput, NotFound
from conductor.faces.mcp.protocol import UnknownResource
from conductor.faces.mcp.rpc import write

_SCHEME: Final = "conductor://"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_TASKS_A_PAGE: Final = 50
#: What is sealed in the ledger never changes.
_SEALED_MS: Final = 3_600_000

Document = Mapping[str, Any]


def _whole(answer: Document) -> Any:
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Addresses of one form, the tool that answers them, and what of its answer is told."""

    path: str
    name: str
    title: str
    description: str
    tool: str
    arguments: Callable[[str], Document]
    told: Callable[[Document], Any] = _whole
    media_type: str = _JSON
    ttl_ms: int = 0

    @property
    def uri(self) -> str:
        return f"{_SCHEME}{self.path}"

    def match(self, uri: str) -> str | None:
        """The variable part of an address of this form; empty if it has none, None if the form is another."""
        before, brace, _ = self.uri.partition("{")
        if not brace:
            return "" if uri == self.uri else None
        found = re.fullmatch(re.escape(before) + r"([^/?#]{1,300})", uri)
        return None if found is None else unquote(found[1])

    def document(self) -> Document:
        """As it is listed."""
        key = "uriTemplate" if "{" in self.path else "uri"
        return {
            key: self.uri,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mimeType": self.media_type,
        }


def _nothing(_part: str) -> Document:
    return {}


def _task(part: str) -> Document:
    return {"task_id": part}


def _entry(part: str) -> Document:
    if not (part.isascii() and part.isdecimal() and len(part) <= 15):
        raise InvalidInput("the index of an entry is a whole number", field="uri")
    return {"start": int(part), "limit": 1}


_FIXED: Final = (
    _Kind(path="ledger", name="ledger", title="Head of the signed record", description="Size, root and signature.",
          tool="ledger_head", arguments=_nothing),
    _Kind(path="models", name="models", title="Models", description="Models in use, with their state.",
          tool="list_models", arguments=_nothing),
    _Kind(path="nodes", name="nodes", title="Machines", description="Machines with devices and latest readings.",
          tool="list_nodes", arguments=lambda _part: {"limit": 100}),
    _Kind(path="status", name="status", title="Status", description="Whether everything works.",
          tool="status", arguments=_nothing),
    _Kind(path="tasks", name="tasks", title="Latest tasks", description="The latest tasks, newest first.",
          tool="list_tasks", arguments=lambda _part: {"limit": _TASKS_A_PAGE}),
)  # fmt: skip
_BY_ID: Final = (
    _Kind(path="decisions/{task_id}", name="decision", title="Decision about a task",
          description="Why a task was decided as it was.", tool="explain_decision", arguments=_task,
          told=lambda answer: answer["text"], media_type=_TEXT),
    _Kind(path="ledger/entries/{index}", name="ledger_entry", title="Entry of the signed record",
          description="One sealed entry.", tool="ledger_entries", arguments=_entry,
          told=lambda answer: answer["entries"][0], ttl_ms=_SEALED_MS),
    _Kind(path="receipts/{task_id}", name="receipt", title="Receipt for a task",
          description="A proof that the outcome of a task stands in the record.", tool="task_receipt", arguments=_task,
          told=lambda answer: answer["receipt"]),
    _Kind(path="tasks/{task_id}", name="task", title="One task",
          description="State, decision, result and the end of the output.", tool="get_task", arguments=_task),
)  # fmt: skip


class Resources:
    """Everything that can be read, on top of the tools."""

    def __init__(self, tools: ToolList) -> None:
        self._tools = tools

    async def page(self, after: str | None) -> tuple[Sequence[Document], str | None]:
        """What is always there, then tasks, newest first."""
        asked = {"limit": _TASKS_A_PAGE} | ({} if after is None else {"cursor": after})
        found = await self._tools.call("list_tasks", asked)
        fixed = [kind.document() for kind in _FIXED] if after is None else []
        return fixed + [_task_document(task) for task in found["tasks"]], found["next_cursor"]

    def templates(self) -> Sequence[Document]:
        """Forms of addresses."""
        return [kind.document() for kind in _BY_ID]

    async def read(self, uri: str) -> tuple[Sequence[Document], int]:
        """The contents behind an address."""
        for kind in (*_FIXED, *_BY_ID):
            part = kind.match(uri)
            if part is None:
                continue
            try:
                found = await self._tools.call(kind.tool, kind.arguments(part))
            except (NotFound, InvalidInput):
                raise UnknownResource(uri[:500]) from None
            told = kind.told(found)
            text = told if isinstance(told, str) else write(told).decode()
            return [{"uri": uri, "mimeType": kind.media_type, "text": text}], kind.ttl_ms
        raise UnknownResource(uri[:500])

    async def task_ids(self, begun: str) -> list[str]:
        """Ids of the latest tasks that begin so."""
        found = await self._tools.call("list_tasks", {"limit": 100})
        return [task["task_id"] for task in found["tasks"] if task["task_id"].startswith(begun)]

    @staticmethod
    def is_template_with_task(uri: str) -> bool:
        """Whether this is one of the templates whose variable is a task's id."""
        return any(kind.uri == uri and kind.arguments is _task for kind in _BY_ID)

    @staticmethod
    def task_of(uri: str) -> str | None:
        """The id of the task that an address tells of; None for other addresses."""
        for kind in _BY_ID:
            part = kind.match(uri)
            if part is not None:
                return part if kind.arguments is _task else None
        return None

    @staticmethod
    def is_template(uri: str) -> bool:
        """Whether this is one of the templates."""
        return any(kind.uri == uri for kind in _BY_ID)


def _task_document(task: Document) -> Document:
    return {
        "uri": f"{_SCHEME}tasks/{quote(task['task_id'], safe='')}",
        "name": task["task_id"],
        "title": task["description"][:100],
        "description": f"A task, {task['state']}.",
        "mimeType": _JSON,
    }
