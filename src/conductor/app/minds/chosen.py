"""Choose the language model that the settings `mind.*` name, and say whether it may take part; nothing is loaded yet.

Our own runs in this process, foreign ones in a worker process or behind an endpoint. Each tells at its first use if it
cannot work, and decisions are made without it until it can. How it fares while the product runs is `minds`'.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conductor.adapters.local_processes.environment import task_environment
from conductor.adapters.mind_llama.model import SHIPPED, OwnMind
from conductor.adapters.minds.worker import WorkerMind
from conductor.app.settings.mind_choice import MindKind, endpoint_of, mind_kind
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import Surroundings
from conductor.decisions.completion import CompletionReader
from conductor.decisions.ports import LanguageModel, Proposal
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, ModelError, StorageError

if TYPE_CHECKING:
    from conductor.adapters.minds.endpoint import Endpoint

#: The SHA-256 that the ledger names for a model, by the model's name; None where it names none.
Recorded = Callable[[str], Awaitable[str | None]]

#: Nothing is fetched while decisions wait, and nobody is told that a model is used.
OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class WithheldMind:
    """Stands for a language model that may not take part, and says why whenever it is asked.

    Args:
        why: with the remedy.
    """

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.checksum = ""
        self.why = why

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Refuse.

        Raises:
            ModelError: always.
        """
        raise ModelError(self.why)


class EndpointMind(CompletionReader):
    """A model behind an endpoint; its weights are out of reach, so nobody can check them."""

    def __init__(self, endpoint: "Endpoint") -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint


def language_model(settings: Settings, around: Surroundings, clock: Clock) -> LanguageModel | None:
    """The language model that the settings name; None for `none`. Our own, damaged, says so when it is asked."""
    match mind_kind(settings.mind.model):
        case MindKind.NONE:
            return None
        case MindKind.OWN:
            return own_mind()
        case MindKind.ENDPOINT:
            return EndpointMind(_endpoint(settings, clock))
        case MindKind.HUB | MindKind.FOLDER | MindKind.GGUF:
            return worker_mind(settings, around, clock)


def own_mind(folder: Path = SHIPPED) -> LanguageModel:
    """Our own model; damaged, it stays away and says so."""
    try:
        return OwnMind(folder)
    except StorageError as damaged:
        return WithheldMind("conductor-mind", damaged.message)


async def nothing_recorded(_name: str) -> None:
    """What a ledger says that was not begun; a `Recorded`."""


async def admitted(mind: LanguageModel | None, recorded: Recorded) -> LanguageModel | None:
    """Our own model only with the weights that the ledger names for its version; any other as it is.

    Weights that changed under the same version are damaged or somebody else's: they take no part in decisions.
    """
    if not isinstance(mind, OwnMind):
        return mind
    try:
        checksum = await asyncio.to_thread(lambda: mind.checksum)
    except ConductorError as damaged:
        return WithheldMind(mind.name, damaged.message)
    known = await recorded(mind.name)
    if known in (None, checksum):
        return mind
    return WithheldMind(
        mind.name,
        f"the weights of {mind.name} have SHA-256 {checksum}, the ledger recorded {known}; "
        "install the package again, or set mind.model to none",
    )


def worker_mind(settings: Settings, around: Surroundings, clock: Clock) -> WorkerMind:
    """A model in a process of its own. One core stays free for the server, which goes on deciding meanwhile."""
    model = settings.mind.model
    threads = max(1, around.logical_cores - 1)
    # -P: what lies in the server's working directory must not be imported
    command = [sys.executable, "-P", "-m", "conductor.app.minds.worker", "--model", model, "--threads", str(threads)]
    named = {"HF_HUB_CACHE": around.environ["HF_HUB_CACHE"]} if around.environ.get("HF_HUB_CACHE") else {}
    environment = task_environment(around.environ, {"HOME": str(around.home), **OFFLINE, **named})
    return WorkerMind(command, name=model, environment=environment, clock=clock, timeout_s=settings.mind.timeout_s)


def _endpoint(settings: Settings, clock: Clock) -> "Endpoint":
    from conductor.adapters.minds.endpoint import Endpoint  # its HTTP client costs a start 0.1 s

    address, name = endpoint_of(settings.mind.model)
    key = settings.mind.api_key
    return Endpoint(
        address,
        model=settings.mind.model_name or name,
        key=None if key is None else key.get_secret_value(),
        timeout_s=settings.mind.timeout_s,
        clock=clock,
    )
