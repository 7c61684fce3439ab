"""Choose the language model that takes part in decisions, by the settings `mind.*`; nothing is loaded yet.

Our own runs in this process, foreign ones in a worker process or behind an endpoint. Each tells at its first use if it
cannot work, and decisions are made without it until it can.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from conductor.adapters.local_processes.environment import task_environment
from conductor.adapters.mind_llama.model import SHIPPED, OwnMind
from conductor.adapters.minds.endpoint import Endpoint
from conductor.adapters.minds.worker import WorkerMind
from conductor.app.ledgering import LedgerKeeper
from conductor.app.settings.mind_choice import MindKind, endpoint_of, mind_kind
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import Surroundings
from conductor.decisions.completion import CompletionReader
from conductor.decisions.converse.snapshot import ModelNow
from conductor.decisions.ports import Adjuster, LanguageModel, Proposal
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, ModelError, StorageError

log = structlog.get_logger(__name__)

_ROLE: Final = "takes part in decisions"
_TUNED_ROLE: Final = "adapts decisions to this installation"
#: Nothing is fetched while decisions wait, and nobody is told that a model is used.
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def language_model(settings: Settings, around: Surroundings, clock: Clock) -> LanguageModel | None:
    """The language model that the settings name; None for `none`. Our own, damaged, says so when it is asked."""
    match mind_kind(settings.mind.model):
        case MindKind.NONE:
            return None
        case MindKind.OWN:
            return own_mind()
        case MindKind.ENDPOINT:
            return CompletionReader(_endpoint(settings, clock))
        case MindKind.HUB | MindKind.FOLDER | MindKind.GGUF:
            return worker_mind(settings, around, clock)


def own_mind(folder: Path = SHIPPED) -> LanguageModel:
    """Our own model; damaged, it stays away and says so."""
    try:
        return OwnMind(folder)
    except StorageError as damaged:
        return WithheldMind("conductor-mind", damaged.message)


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


class ActiveModels:
    """Who takes part in decisions, recorded on the ledger, and what keeps the language model from it."""

    def __init__(self, keeper: LedgerKeeper) -> None:
        self._keeper = keeper
        self._found: list[ModelNow] = []
        self._tuned: list[ModelNow] = []
        self.problem = ""

    def now(self) -> tuple[ModelNow, ...]:
        """The models that take part."""
        return (*self._found, *self._tuned)

    async def add(self, name: str, checksum: str, role: str) -> None:
        """Record that a model takes part from now on."""
        await self._keeper.record_model(name, checksum)
        self._found.append(ModelNow(name=name, sha256=checksum, role=role))

    def use_tuned(self, version: Adjuster | None) -> None:
        """Name the tuned version that takes part from now on; `app.tuning` recorded it."""
        self._tuned = []
        if version is not None:
            self._tuned = [ModelNow(name=version.name, sha256=version.checksum, role=_TUNED_ROLE)]

    async def admit(self, mind: LanguageModel | None) -> LanguageModel | None:
        """Our own model only with the weights that the ledger names for its version; others when they have loaded.

        Weights that changed under the same version are damaged or somebody else's: they take no part in decisions.
        """
        if isinstance(mind, WithheldMind):
            return self._withheld(mind.name, mind.why)
        if not isinstance(mind, OwnMind):
            return mind
        try:
            checksum = await asyncio.to_thread(lambda: mind.checksum)
        except ConductorError as damaged:
            return self._withheld(mind.name, damaged.message)
        recorded = await self._keeper.recorded_checksum(mind.name)
        if recorded not in (None, checksum):
            return self._withheld(
                mind.name,
                f"the weights of {mind.name} have SHA-256 {checksum}, the ledger recorded {recorded}; "
                "install the package again, or set mind.model to none",
            )
        await self.add(mind.name, checksum, _ROLE)
        return mind

    async def load(self, mind: LanguageModel | None) -> None:
        """Load a foreign model now rather than in the first decision, and record that it takes part."""
        if mind is None or isinstance(mind, OwnMind | WithheldMind):
            return
        try:
            checksum = await asyncio.to_thread(lambda: mind.checksum)
        except ConductorError as failure:
            self._withheld(mind.name, failure.message)
        else:
            await self.add(mind.name, checksum, _ROLE)

    def _withheld(self, name: str, why: str) -> "WithheldMind":
        self.problem = f"language model: {why}"
        log.warning("language_model_absent", model=name, because=why)
        return WithheldMind(name, why)


def worker_mind(settings: Settings, around: Surroundings, clock: Clock) -> WorkerMind:
    """A model in a process of its own. One core stays free for the server, which goes on deciding meanwhile."""
    model = settings.mind.model
    threads = max(1, around.logical_cores - 1)
    # -P: what lies in the server's working directory must not be imported
    command = [sys.executable, "-P", "-m", "conductor.app.mind_worker", "--model", model, "--threads", str(threads)]
    named = {"HF_HUB_CACHE": around.environ["HF_HUB_CACHE"]} if around.environ.get("HF_HUB_CACHE") else {}
    environment = task_environment(around.environ, {"HOME": str(around.home), **_OFFLINE, **named})
    return WorkerMind(command, name=model, environment=environment, clock=clock, timeout_s=settings.mind.timeout_s)


def _endpoint(settings: Settings, clock: Clock) -> Endpoint:
    address, name = endpoint_of(settings.mind.model)
    key = settings.mind.api_key
    return Endpoint(
        address,
        model=settings.mind.model_name or name,
        key=None if key is None else key.get_secret_value(),
        timeout_s=settings.mind.timeout_s,
        clock=clock,
    )
