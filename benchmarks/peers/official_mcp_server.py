"""The official Python server of MCP with one tool that answers what ours does, without key, limits or books.

`python official_mcp_server.py PORT`.
"""

import sys
import time

import uvicorn
from mcp.server.mcpserver import MCPServer
from typing_extensions import TypedDict

BEGUN_S = time.monotonic()
server = MCPServer("peer")


class Status(TypedDict):
    """As our tool `status` answers."""

    status: str
    version: str
    uptime_s: float
    tasks_waiting: int
    tasks_running: int
    problems: list[str]


@server.tool()
def status() -> Status:
    """Whether everything works."""
    return Status(
        status="ok",
        version="1",
        uptime_s=time.monotonic() - BEGUN_S,
        tasks_waiting=0,
        tasks_running=0,
        problems=[],
    )


if __name__ == "__main__":
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
