"""The one list of tools over an opened product, whatever protocol offers them.

Order is by name and does not change while the product runs, so that pages of a listing fit together. What each tool does is
in `app.tools`; here they are joined, found and called.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from conductor.app.conductor import Conductor
from conductor.app.tools.confirmation import Confirmations
from conductor.app.tools.generation import ServingDesk as ServingDesk
from conductor.app.tools.generation import generation_tools
from conductor.app.tools.offered import OfferedTool as OfferedTool
from conductor.app.tools.record import record_tools
from conductor.app.tools.state import state_tools
from conductor.app.tools.tasks import task_tools
from conductor.domain.errors import NotFound


class ToolList:
    """Tools by name."""

    def __init__(self, tools: Sequence[OfferedTool[Any]]) -> None:
        self._tools = {tool.name: tool for tool in sorted(tools, key=lambda tool: tool.name)}
        assert len(self._tools) == len(tools), "two tools have one name"

    def __iter__(self) -> Iterator[OfferedTool[Any]]:
        return iter(self._tools.values())

    def find(self, name: str) -> OfferedTool[Any]:
        """One tool.

        Raises:
            NotFound: there is none with this name; names the nearest.
        """
        tool = self._tools.get(name)
        if tool is None:
            near = difflib.get_close_matches(name[:200], self._tools, n=1)
            meant = f"is {near[0]!r} meant?" if near else f"there are {', '.join(self._tools)}"
            raise NotFound(f"there is no tool {name[:200]!r}; {meant}", field="name")
        return tool

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call one by name, unheard; errors as `find` and `OfferedTool.call`."""
        return await self.find(name).call(arguments)


def offered_tools(
    conductor: Conductor, *, secret: bytes, now_s: Callable[[], float], serving: ServingDesk | None = None
) -> ToolList:
    """Every tool that this installation offers.

    Args:
        secret: at least 16 random bytes of this process, for confirmations.
        now_s: monotonic seconds.
        serving: what generates text, if anything does.
    """
    return ToolList(
        [
            *task_tools(conductor, Confirmations(secret, now_s), now_s),
            *state_tools(conductor, serving),
            *record_tools(conductor),
            *generation_tools(serving, now_s),
        ]
    )
