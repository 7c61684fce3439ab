"""Conductor: one AI cluster from the machines a small team already has.

The Python API is `Conductor`, and `ConductorServer` for those who speak MCP. Importing them is deferred so that
`conductor --help` stays quick, and by name, because rooms that ask for `__version__` must not know a face.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conductor.app.conductor import Conductor as Conductor

    ConductorServer: Any

__all__ = ["Conductor", "ConductorServer"]
__version__ = "0.1.0"

_WHERE = {"Conductor": "conductor.app.conductor", "ConductorServer": "conductor.faces.mcp.embedded"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'conductor' has no attribute {name!r}")
