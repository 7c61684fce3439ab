"""Which server programs of others are installed, and which of them run models whose names ask for none.

A GGUF file goes to `llama-server` where our own llama.cpp is not installed; `OWNER/NAME` goes to vLLM where this machine
has a card of NVIDIA or AMD. Looked at once, when the product starts; a name that asks for a program finds it later too.
"""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conductor.adapters.local_processes.environment import task_environment
from conductor.adapters.servers.backend import INSTALLS, find_program
from conductor.adapters.servers.backend import REMEDIES as REMEDIES
from conductor.domain.model import ModelName
from conductor.domain.server_program import ServerProgram, fitting_program, split_program

_CARD_FILES: Final = ("dev/nvidiactl", "dev/kfd")


def installed_programs(environ: Mapping[str, str]) -> dict[ServerProgram, Path]:
    """Where the programs are that are on the PATH; blocking."""
    environment = task_environment(environ, {})
    found = {program: find_program(program, environment) for program in ServerProgram}
    return {program: path for program, path in found.items() if path is not None}


def install_line(program: ServerProgram, environ: Mapping[str, str]) -> str:
    """What to type to install a program; empty where the installer that would do it is not on this machine. Blocking."""
    installer = INSTALLS[program].partition(" ")[0]
    return INSTALLS[program] if shutil.which(installer, path=environ.get("PATH", "")) else ""


def unasked_programs(
    environ: Mapping[str, str], *, root: Path = Path("/"), own_llama_cpp: bool | None = None
) -> frozenset[ServerProgram]:
    """The programs that take models whose names ask for none; blocking.

    Args:
        root: where `/dev` is.
        own_llama_cpp: whether our own can run GGUF files; None looks.
    """
    installed = installed_programs(environ)
    if own_llama_cpp is None:
        own_llama_cpp = importlib.util.find_spec("xllamacpp") is not None
    has_card = any((root / name).exists() for name in _CARD_FILES)
    wanted = {ServerProgram.LLAMA_SERVER: not own_llama_cpp, ServerProgram.VLLM: has_card}
    return frozenset(program for program in installed if wanted[program])


def with_program(name: ModelName, unasked: frozenset[ServerProgram]) -> ModelName:
    """The name with the program that will run it, where a program will."""
    if split_program(name)[0] is not None:
        return name
    program = fitting_program(name)
    return ModelName(f"{program}:{name}") if program in unasked else name
