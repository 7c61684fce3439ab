"""What an opened Conductor offers over MCP: its tools, resources and prompts as the protocol's documents.

Failures of tools are results that the model can read and act upon, with the fields of our error tree; only what concerns
the protocol itself (no such tool) is an error of the protocol. Every call ends: at its deadline, if nothing else ends it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from conductor import __version__
from conductor.app.conductor import Conductor
from conductor.app.tool_list import OfferedTool, ServingDesk, ToolList, offered_tools
from conductor.app.tools.changes import TaskChanges
from conductor.app.tools.offered import Report, unheard
from conductor.domain.errors import ConductorError, NotFound
from conductor.faces.mcp.prompts import PROMPTS
from conductor.faces.mcp.protocol import UnknownResource
from conductor.faces.mcp.resources import Resources
from conductor.faces.mcp.rpc import INVALID_PARAMS, RpcError, problem_of, write

#: No call takes longer; the longest wait that a tool offers is half of it.
_LONGEST_S: Final = 600.0
_MOST_BYTES: Final = 4 * 1024 * 1024
_INSTRUCTIONS: Final = (
    "Conductor runs work on the machines of a small team and keeps a signed record of it. Ask `decide` where work would run "
    "before `run_task`; `get_task` tells how it stands; `ask` answers questions in words. `generate_text` and the tools "
    "named generate_… have a language model of the installation write. What ends or executes something should be agreed "
    "with the user first: `cancel_task` and `ask` show what they would do and return a confirm_token."
)

Document = Mapping[str, Any]


class ConductorCatalogue:
    """The catalogue of one installation; see `protocol.Catalogue`."""

    def __init__(self, tools: ToolList, changes: TaskChanges) -> None:
        self._tools = tools
        self._changes = changes
        self._resources = Resources(tools)
        self._prompts = {prompt.name: prompt for prompt in PROMPTS}

    @property
    def info(self) -> Document:
        """Name and version."""
        return {"name": "conductor", "title": "Conductor", "version": __version__}

    @property
    def instructions(self) -> str:
        """For the model."""
        return _INSTRUCTIONS

    def tools(self) -> Sequence[Document]:
        """Every tool, by name."""
        return [_document(tool) for tool in self._tools]

    async def call(self, name: str, arguments: Document, report: Report = unheard) -> Document:
        """The result of a tool; `report` is told how far it has come."""
        try:
            tool = self._tools.find(name)
        except NotFound as unknown:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {unknown.message}", problem_of(unknown)) from None
        try:
            async with asyncio.timeout(_LONGEST_S) as deadline:
                found = await tool.call(arguments, report)
        except ConductorError as error:
            return _failure(error)
        except TimeoutError:
            if not deadline.expired():  # one of its own, which nobody foresaw
                raise
            return _failure(ConductorError(f"{name} did not end within {_LONGEST_S:.0f} s and was given up"))
        return _success(tool, found)

    def prompts(self) -> Sequence[Document]:
        """Every prompt, by name."""
        return [prompt.document() for prompt in PROMPTS]

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Document:
        """One prompt, filled in."""
        prompt = self._prompts.get(name)
        if prompt is None:
            raise RpcError(INVALID_PARAMS, f"Unknown prompt: {name[:200]}", {"prompts": list(self._prompts)})
        if missing := prompt.missing(arguments):
            raise RpcError(INVALID_PARAMS, f"Missing required argument: {missing[0]}", {"missing": missing})
        messages: list[Document] = [_said({"type": "text", "text": prompt.text(arguments)})]
        if uri := prompt.resource(arguments):
            try:
                contents, _ = await self._resources.read(uri)
            except UnknownResource:
                raise RpcError(INVALID_PARAMS, f"there is no resource {uri[:300]}", {"uri": uri[:300]}) from None
            messages += [_said({"type": "resource", "resource": each}) for each in contents]
        return {"description": prompt.description, "messages": messages}

    async def resources(self, after: str | None) -> tuple[Sequence[Document], str | None]:
        """A page of resources."""
        return await self._resources.page(after)

    def templates(self) -> Sequence[Document]:
        """Templates of addresses."""
        return self._resources.templates()

    async def read(self, uri: str) -> tuple[Sequence[Document], int]:
        """The contents of a resource."""
        return await self._resources.read(uri)

    async def follow(
        self, uris: Sequence[str], begun: Callable[[Collection[str]], None], changed: Callable[[str], None]
    ) -> None:
        """Follow what is told about tasks; nothing else here says when it changes."""
        wanted = {uri: task_id for uri in uris if (task_id := Resources.task_of(uri)) is not None}
        await self._changes.follow(wanted, begun, changed)

    async def complete(self, ref: Document, argument: str, begun: str) -> Sequence[str]:
        """Ids of tasks where one is asked for; nothing for other arguments."""
        match ref:
            case {"type": "ref/prompt", "name": str(name)} if name in self._prompts:
                known = any(each.name == argument for each in self._prompts[name].arguments)
                return await self._resources.task_ids(begun) if known and argument == "task_id" else []
            case {"type": "ref/resource", "uri": str(uri)} if Resources.is_template(uri):
                return await self._resources.task_ids(begun) if Resources.is_template_with_task(uri) else []
            case _:
                raise RpcError(INVALID_PARAMS, "Invalid params: ref names no prompt and no resource template")


def catalogue_of(conductor: Conductor, serving: ServingDesk | None = None) -> ConductorCatalogue:
    """The catalogue of an opened installation."""
    tools = offered_tools(conductor, secret=secrets.token_bytes(32), now_s=time.monotonic, serving=serving)
    return ConductorCatalogue(tools, TaskChanges(conductor.tasks))


def _document(tool: OfferedTool[Any]) -> Document:
    hints: dict[str, Any] = {
        "title": tool.title,
        "readOnlyHint": tool.reads_only,
        "idempotentHint": tool.repeatable,
        "openWorldHint": tool.reaches_out,
    }
    if not tool.reads_only:
        hints["destructiveHint"] = tool.destroys
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": hints,
    }


def _success(tool: OfferedTool[Any], found: Document) -> Document:
    text = str(found[tool.spoken]) if tool.spoken else write(found).decode()
    if len(text) > _MOST_BYTES:
        return _failure(ConductorError(f"the answer of {tool.name} has {len(text):,} characters; ask for less of it"))
    content = [{"type": "text", "text": text}]
    if tool.remarks and found[tool.remarks]:
        content.append({"type": "text", "text": "\n".join(f"Note: {remark}" for remark in found[tool.remarks])})
    return {"content": content, "structuredContent": found, "isError": False}


def _failure(error: ConductorError) -> Document:
    return {
        "content": [{"type": "text", "text": error.message}],
        "structuredContent": problem_of(error),
        "isError": True,
    }


def _said(content: Document) -> Document:
    return {"role": "user", "content": content}
