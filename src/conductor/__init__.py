"""Conductor: one AI cluster from the machines a small team already has.

The Python API is `Conductor`; importing it is deferred so that `conductor --help` stays quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conductor.app.conductor import Conductor as Conductor

__all__ = ["Conductor"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Conductor":
        from conductor.app.conductor import Conductor

        return Conductor
    raise AttributeError(f"module 'conductor' has no attribute {name!r}")
