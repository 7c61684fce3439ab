"""Runs in the task's process: import a callable, call it, answer on the inherited descriptor.

Standard library only. Reads `{"callable", "args", "directory"}` as JSON from stdin; answers one JSON object:
`{"result"}`, `{"exception": {"type", "message"}}`, `{"memory"}` or `{"cannot"}`. What the callable prints goes where
it prints; the answer has a channel of its own. SystemExit passes: it is the callable's way to end with an exit code.
"""

import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any


def main() -> int:
    """Do the call; 0 when it returned a result."""
    call = json.loads(sys.stdin.buffer.read())
    answer_fd = int(os.environ.pop("CONDUCTOR_RESULT_FD"))
    os.set_inheritable(answer_fd, False)
    # With the import root first, as running a script there would have it; this file's folder is not on the path (-P).
    sys.path.insert(0, call["directory"])
    answer = run(call["callable"], call["args"])
    with os.fdopen(answer_fd, "wb") as channel:
        channel.write(json.dumps(answer, allow_nan=False).encode())
    return 0 if "result" in answer else 1


def run(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything but the channel. Catches whatever foreign code raises, because that is the answer."""
    try:
        function = find(name)
    except Exception as error:
        traceback.print_exc()
        return {"cannot": f"{name} cannot be loaded: {type(error).__name__}: {error}"}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        return {"cannot": f"{name} cannot be called with these arguments: {error}"}
    except ValueError:  # a callable that does not tell its signature; the call will show
        pass
    try:
        return {"result": as_json(name, finished(function(**arguments)))}
    except MemoryError:
        traceback.print_exc()
        return {"memory": True}
    except Exception as error:
        traceback.print_exc()
        return {"exception": {"type": type(error).__name__, "message": str(error)[:2000]}}


def find(name: str) -> Any:
    """The object behind `package.module:attribute`."""
    module, _, attributes = name.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    if not callable(found):
        raise TypeError(f"{attributes} is {type(found).__name__}, which cannot be called")
    return found


def finished(value: Any) -> Any:
    """Wait for what an async callable returned."""
    if not inspect.isawaitable(value):
        return value
    import asyncio

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def as_json(name: str, value: Any) -> Any:
    """The value unless it cannot be written as JSON.

    Raises:
        TypeError: says what to return instead.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"the result of {name} is not JSON ({error}); return texts, finite numbers, lists and dicts of them "
            "(numpy values through .item() or .tolist())"
        ) from None
    return value


if __name__ == "__main__":
    sys.exit(main())
