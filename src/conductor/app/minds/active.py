"""Know who takes part in decisions while the product runs: record it on the ledger, and say what keeps a model away.

Which language model the settings name is `minds.chosen`'s. How one of other people fares is seen at every question it is
asked (`watched_mind`), so that nobody has to read a decision's reasoning to learn of it.
"""

import asyncio
from typing import Final

import structlog

from conductor.adapters.mind_llama.model import OwnMind
from conductor.app.ledgering import LedgerKeeper
from conductor.app.minds.chosen import WithheldMind, admitted
from conductor.app.minds.state import MindNow, MindState
from conductor.app.minds.watched import WatchedMind
from conductor.decisions.converse.snapshot import ModelNow
from conductor.decisions.ports import Adjuster, LanguageModel
from conductor.domain.errors import ModelError

log = structlog.get_logger(__name__)

_ROLE: Final = "takes part in decisions"
_TUNED_ROLE: Final = "adapts decisions to this installation"
_RESTART: Final = "start the server again"
_SHIPPED_ONE: Final = f"take the shipped model: `conductor settings set mind.model conductor`, then {_RESTART}"


class ActiveModels:
    """Who takes part in decisions, recorded on the ledger, and what keeps the language model from it."""

    def __init__(self, keeper: LedgerKeeper) -> None:
        self._keeper = keeper
        self._found: list[ModelNow] = []
        self._tuned: list[ModelNow] = []
        self._mind: LanguageModel | None = None
        self._foreign: ModelNow | None = None

    def now(self) -> tuple[ModelNow, ...]:
        """The models that take part."""
        foreign = () if self._foreign is None or self._state() is not MindState.READY else (self._foreign,)
        return (*self._found, *foreign, *self._tuned)

    @property
    def problem(self) -> str:
        """Why the language model stays away, in a sentence; empty if it does not, or is still being loaded."""
        why = self._why()
        return f"language model: {why}" if why else ""

    def mind(self, *, in_effect: str, configured: str) -> MindNow:
        """How the language model fares.

        Args:
            in_effect: the setting `mind.model` at the start.
            configured: the same as it is now, and counts from the next start.
        """
        state = self._state()
        mind = self._mind if state is MindState.READY else None
        why, _, remedy = self._why().partition("; ")  # as all our messages are built
        if state is MindState.FAILS:
            remedy = f"{remedy}; or {_SHIPPED_ONE}" if remedy else _SHIPPED_ONE
        elif state is MindState.LOADING:
            why, remedy = "it is being loaded, and decisions are made without it meanwhile", "wait"
        if configured != in_effect:
            changed = f"mind.model was changed after the server had started with {in_effect}"
            why, remedy = f"{changed}, which stays away: {why}" if why else changed, _RESTART
        return MindNow(
            configured=configured,
            in_effect=in_effect,
            state=state.value,
            running="" if mind is None else mind.name,
            sha256=self._sha256() if mind is not None else "",
            why=why,
            remedy=remedy,
        )

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
        """Our own model only with the weights that the ledger names for its version; others are watched from now on."""
        found = await admitted(mind, self._keeper.recorded_checksum)
        if isinstance(found, OwnMind):
            await self.add(found.name, found.checksum, _ROLE)
        elif isinstance(found, WithheldMind):
            log.warning("language_model_absent", model=found.name, because=found.why)
        elif found is not None:
            found = WatchedMind(found)
        self._mind = found
        return found

    async def load(self, mind: LanguageModel | None) -> None:
        """Load a foreign model now rather than in the first decision, and record that it takes part once it does."""
        if not isinstance(mind, WatchedMind):
            return
        checksum = await self._awake(mind)
        await self._keeper.record_model(mind.name, checksum)
        self._foreign = ModelNow(name=mind.name, sha256=checksum, role=_ROLE)

    async def _awake(self, mind: WatchedMind) -> str:
        """Wait until it can be used, however long that takes; its checksum."""
        loop, answered = asyncio.get_running_loop(), asyncio.Event()
        mind.on_answer = lambda: loop.call_soon_threadsafe(answered.set)
        try:
            while True:
                try:
                    return await mind.wake()
                except ModelError as failure:
                    log.warning("language_model_absent", model=mind.name, because=failure.message)
                    await answered.wait()  # every decision asks it again, and it may be there by then
                    answered.clear()
        finally:
            mind.on_answer = None

    def _state(self) -> MindState:
        match self._mind:
            case None:
                return MindState.OFF
            case WithheldMind():
                return MindState.WITHHELD
            case WatchedMind() as mind if mind.is_loading or not (mind.failure or self._foreign):
                return MindState.LOADING
            case WatchedMind() as mind if mind.failure:
                return MindState.FAILS
            case _:
                return MindState.READY

    def _why(self) -> str:
        match self._mind, self._state():
            case WithheldMind() as mind, _:
                return mind.why
            case WatchedMind() as mind, MindState.FAILS:
                return mind.failure
            case _:
                return ""

    def _sha256(self) -> str:
        name = None if self._mind is None else self._mind.name
        return next((model.sha256 for model in self.now() if model.name == name), "")
