"""Tell what requests of a category begin with: what its engine says to the model where the caller sets no options.

What depends on options, on the request, or is nothing, cannot be told beforehand: there is no beginning then.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from conductor.domain.errors import ConductorError
from conductor.domain.generation import Message, Role
from conductor.domain.model import Category
from conductor.serving.engine import Engine

log = structlog.get_logger(__name__)


def beginning(engines: Mapping[Category, Engine[Any]], category: Category) -> tuple[Message, ...]:
    """The turns before the user's first one; empty where they cannot be told."""
    if category not in engines:
        return ()
    engine = engines[category]
    try:
        told = engine.system_prompt(engine.options_type())
    except (ConductorError, TypeError):  # it needs an option
        return ()
    except Exception:  # an engine is anybody's code
        log.exception("beginning_unknown", category=category)
        return ()
    return (Message(role=Role.SYSTEM, content=told),) if told.strip() else ()
