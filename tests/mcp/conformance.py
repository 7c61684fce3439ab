"""A catalogue with the things that the public conformance suite looks for, served by our endpoint.

    python tests/mcp/conformance.py 8123 &
    npx @modelcontextprotocol/conformance server --url http://127.0.0.1:8123/mcp

The suite (0.1.16) knows revisions up to 2025-11-25. What our server does not offer by design (docs/mcp.md) is not here.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from conductor.app.tools.offered import Report
from conductor.faces.mcp.endpoint import McpEndpoint
from conductor.faces.mcp.protocol import UnknownResource
from conductor.faces.mcp.rpc import INVALID_PARAMS, RpcError

Document = Mapping[str, Any]

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
_WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
_TEXT = {"type": "text", "text": "This is a simple text response for testing."}
_IMAGE = {"type": "image", "data": _PNG, "mimeType": "image/png"}


def _embedded(uri: str, text: str) -> Document:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": "text/plain", "text": text}}


_RESULTS: Mapping[str, Document] = {
    "test_simple_text": {"content": [_TEXT]},
    "test_image_content": {"content": [_IMAGE]},
    "test_audio_content": {"content": [{"type": "audio", "data": _WAV, "mimeType": "audio/wav"}]},
    "test_embedded_resource": {"content": [_embedded("test://embedded-resource", "This is an embedded resource.")]},
    "test_multiple_content_types": {
        "content": [_TEXT, _IMAGE, _embedded("test://mixed-content-resource", '{"test":"data","value":123}')]
    },
    "test_error_handling": {"content": [{"type": "text", "text": "This tool intentionally fails"}], "isError": True},
    "test_tool_with_logging": {"content": [_TEXT]},
    "test_tool_with_progress": {"content": [_TEXT]},
    "json_schema_2020_12_tool": {"content": [_TEXT]},
}
_SCHEMA_2020_12: Document = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


class Everything:
    """What the suite asks for."""

    instructions = "For the conformance suite."

    def __init__(self) -> None:
        self.info = {"name": "conductor-conformance", "version": "1"}

    def tools(self) -> Sequence[Document]:
        plain = {"type": "object", "properties": {}}
        return [
            {
                "name": name,
                "description": f"The suite's {name}.",
                "inputSchema": _SCHEMA_2020_12 if name.startswith("json") else plain,
            }
            for name in _RESULTS
        ]

    async def call(self, name: str, arguments: Document, report: Report) -> Document:
        if name not in _RESULTS:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")
        if name.startswith("test_tool_with"):
            for progress, step in ((0, "started"), (50, "is processing data"), (100, "completed")):
                report(progress, f"Tool execution {step}", total=100)
                await asyncio.sleep(0.05)
        return _RESULTS[name]

    def prompts(self) -> Sequence[Document]:
        two = [{"name": f"arg{number}", "description": "any text", "required": True} for number in (1, 2)]
        uri = [{"name": "resourceUri", "description": "any address", "required": True}]
        return [
            {"name": "test_simple_prompt", "description": "A simple prompt."},
            {"name": "test_prompt_with_arguments", "description": "With arguments.", "arguments": two},
            {"name": "test_prompt_with_embedded_resource", "description": "With a resource.", "arguments": uri},
            {"name": "test_prompt_with_image", "description": "With an image."},
        ]

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Document:
        said: Mapping[str, Sequence[Document]] = {
            "test_simple_prompt": [{"type": "text", "text": "This is a simple prompt for testing."}],
            "test_prompt_with_arguments": [
                {"type": "text", "text": f"Arguments: arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"}
            ],
            "test_prompt_with_embedded_resource": [
                _embedded(arguments.get("resourceUri", ""), "Embedded resource content for testing."),
                {"type": "text", "text": "Please process the embedded resource above."},
            ],
            "test_prompt_with_image": [_IMAGE, {"type": "text", "text": "Please analyze the image above."}],
        }
        if name not in said:
            raise RpcError(INVALID_PARAMS, f"Unknown prompt: {name}")
        return {"messages": [{"role": "user", "content": content} for content in said[name]]}

    async def resources(self, after: str | None) -> tuple[Sequence[Document], str | None]:
        return [
            {"uri": "test://static-text", "name": "text", "mimeType": "text/plain"},
            {"uri": "test://static-binary", "name": "binary", "mimeType": "image/png"},
        ], None

    def templates(self) -> Sequence[Document]:
        return [{"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"}]

    async def read(self, uri: str) -> tuple[Sequence[Document], int]:
        if uri == "test://static-text":
            text = "This is the content of the static text resource."
            return [{"uri": uri, "mimeType": "text/plain", "text": text}], 0
        if uri == "test://static-binary":
            return [{"uri": uri, "mimeType": "image/png", "blob": _PNG}], 0
        if uri.startswith("test://template/") and uri.endswith("/data"):
            part = uri.removeprefix("test://template/").removesuffix("/data")
            text = f'{{"id":"{part}","templateTest":true,"data":"Data for ID: {part}"}}'
            return [{"uri": uri, "mimeType": "application/json", "text": text}], 0
        raise UnknownResource(uri)

    async def follow(self, uris: Sequence[str], begun: Any, changed: Any) -> None:
        begun([])

    async def complete(self, ref: Document, argument: str, begun: str) -> Sequence[str]:
        return [word for word in ("paris", "park", "party") if word.startswith(begun)]


def main(port: int) -> None:
    """Serve on loopback until stopped."""
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app = Starlette(routes=[Route("/mcp", McpEndpoint(Everything))], middleware=[hosts])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
