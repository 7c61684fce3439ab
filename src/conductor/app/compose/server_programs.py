"""Build the backends of models that run in server programs of others: llama.cpp's server and vLLM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conductor.adapters.memory_meter import CUDA, ROCM
from conductor.adapters.minds.hub_cache import HubCache
from conductor.adapters.runners.backend import Limits
from conductor.adapters.servers.backend import LlamaServerBackend, Surroundings, VllmBackend
from conductor.adapters.servers.cards import card_bytes
from conductor.app.compose.foundation import Foundation
from conductor.app.serving.programs import unasked_programs
from conductor.domain.server_program import ServerProgram
from conductor.serving.lifetimes.memory_budget import memory_need

#: Backends that run on graphics cards whatever torch is installed beside us: they bring their own.
ON_CARDS: Final = frozenset({VllmBackend.program.value})


def program_backends(
    foundation: Foundation, environment: Mapping[str, str], *, hub: HubCache, limits: Limits
) -> tuple[LlamaServerBackend, VllmBackend]:
    """The two backends; asked before our own engines, since what asks for no program is theirs only where it should be.

    Args:
        environment: as engine processes see it.
    """
    around = Surroundings(
        environment=environment,
        hub=hub,
        estimate=memory_need,
        limits=limits,
        clock=foundation.clock,
        card_bytes=card_bytes,
    )
    unasked = unasked_programs(foundation.installation.around.environ)
    return (
        LlamaServerBackend(around, takes_unnamed=ServerProgram.LLAMA_SERVER in unasked),
        VllmBackend(around, takes_unnamed=ServerProgram.VLLM in unasked),
    )


def cards_here() -> str:
    """Whose cards this machine has; NVIDIA's where nothing is known, since its driver is asked anyway."""
    return ROCM if Path("/dev/kfd").exists() and not Path("/dev/nvidiactl").exists() else CUDA
