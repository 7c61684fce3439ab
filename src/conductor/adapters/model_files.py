"""Tell whether a model's files are still the same ones: where they are, how long, and when they were last changed.

Nothing is read of them, so this costs microseconds a file; who writes other weights of the same length and puts the time
back is not noticed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.runners.backend import path_of
from conductor.domain.errors import NotFound
from conductor.domain.model import ModelName
from conductor.domain.server_program import split_program

#: One of the files that a large GGUF model is split into: `x-00001-of-00003.gguf`.
_PART: Final = re.compile(r"(.*)-\d{5}-of-(\d{5}\.gguf)", re.IGNORECASE | re.DOTALL)

#: As what is loaded here ends; folders may hold the same numbers in other forms, which are not.
_WEIGHTS: Final = frozenset({".safetensors", ".gguf"})


def files_of(model: ModelName, hub: HubCache) -> tuple[tuple[str, int, int], ...] | None:
    """Path, length in bytes and time of change (ns since 1970) of each file, by path; blocking.

    Empty for models of endpoints, whose files are elsewhere; None where the files are missing or cannot be looked at.
    """
    if "://" in model:
        return ()
    try:
        paths = sorted(_files_at(path_of(split_program(model)[1], hub)))
        found = [(str(path), path.stat()) for path in paths]
    except (NotFound, OSError):
        return None
    return tuple((path, facts.st_size, facts.st_mtime_ns) for path, facts in found) or None


def weights_of(model: ModelName, hub: HubCache) -> tuple[Path, ...]:
    """The files that hold a model's numbers, in the order of their names; empty where there are none here. Blocking."""
    if "://" in model:
        return ()
    try:
        paths = sorted(_files_at(path_of(split_program(model)[1], hub)))
    except (NotFound, OSError):
        return ()
    return tuple(path for path in paths if path.suffix.lower() in _WEIGHTS)


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in path.iterdir() if each.is_file())
    elif (part := _PART.fullmatch(path.name)) is not None:
        rest = f"-of-{part[2]}"
        yield from (
            each for each in path.parent.iterdir() if each.name.startswith(part[1]) and each.name.endswith(rest)
        )
    else:
        yield path
