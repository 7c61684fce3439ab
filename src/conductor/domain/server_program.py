"""The foreign server programs that models can be run by, and how a technical name asks for one of them.

`llama-server:/models/x.gguf` and `vllm:owner/name`; a name without such a beginning leaves the choice to Conductor.
"""

import re
from enum import StrEnum
from typing import Final

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class ServerProgram(StrEnum):
    """A program that serves one model over HTTP, as it is called on the command line."""

    LLAMA_SERVER = "llama-server"
    VLLM = "vllm"


def split_program(name: str) -> tuple[ServerProgram | None, str]:
    """The program that a technical name asks for, None where it asks for none, and the model without it."""
    program, colon, model = name.partition(":")
    if colon and program in set(ServerProgram):
        return ServerProgram(program), model
    return None, name


def fitting_program(model: str) -> ServerProgram | None:
    """The program that a model without one in its name could be run by: GGUF files, and ids of Hugging Face."""
    if "://" in model:
        return None
    if model.lower().endswith(".gguf"):
        return ServerProgram.LLAMA_SERVER
    return ServerProgram.VLLM if _HUB_ID.fullmatch(model) else None
