"""Find the mind that the server of a data folder decides with, without that server: for commands that need none.

The same settings (those stored in the database included), the same weights, the same tuned version, and the ledger asked
in the same way who may take part. Only reads, also beside a running server; where something cannot be read, the rest
decides and a remark says so. Not covered: what the server remembers of past tasks, which no command without it uses.
"""

import contextlib
from dataclasses import dataclass

from conductor.adapters.mind_llama.model import OwnMind
from conductor.adapters.mind_tuning.versions import Versions
from conductor.app.installation import Installation
from conductor.app.minds.chosen import Recorded, WithheldMind, admitted, language_model, nothing_recorded
from conductor.app.minds.kept_version import kept_version
from conductor.app.minds.watched import WatchedMind
from conductor.app.settings.model import Settings
from conductor.decisions.ports import Adjuster, LanguageModel, TextEncoder
from conductor.domain.clock import Clock
from conductor.domain.errors import ConductorError, ModelError, StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class MindAtRest:
    """What decides beside the encoder, with the settings in effect.

    Args:
        remarks: what is not the shipped mind, and what stays away and why; a sentence each.
    """

    settings: Settings
    language_model: LanguageModel | None
    tuned: Adjuster | None
    remarks: tuple[str, ...]


async def mind_at_rest(installation: Installation, encoder: TextEncoder, clock: Clock) -> MindAtRest:
    """The mind of this installation; a foreign language model is loaded before this returns.

    Raises:
        SettingsError: a stored setting is impossible.
    """
    remarks: list[str] = []
    async with contextlib.AsyncExitStack() as undo:
        try:
            settings, recorded = await undo.enter_async_context(_facts(installation))
        except StorageError as unreadable:
            remarks.append(f"settings stored in the database are left out: {unreadable.message}")
            settings, recorded = installation.settings, nothing_recorded
        if settings.mind.model != installation.settings.mind.model:
            remarks.append(f"mind.model is {settings.mind.model}, as `conductor settings set` stored it")
        mind = await _awake(await _admitted(language_model(settings, installation.around, clock), recorded), remarks)
        tuned = None
        try:
            tuned = await kept_version(Versions(installation.paths.mind), encoder, recorded)
        except ModelError as refusal:
            remarks.append(refusal.message)
        if tuned is not None:
            remarks.append(f"{tuned.name} takes part, as `conductor mind tune` kept it")
    return MindAtRest(settings=settings, language_model=mind, tuned=tuned, remarks=tuple(remarks))


async def _admitted(mind: LanguageModel | None, recorded: Recorded) -> LanguageModel | None:
    try:
        return await admitted(mind, recorded)
    except ConductorError as unreadable:  # the ledger, which would keep a server from starting
        return WithheldMind("" if mind is None else mind.name, unreadable.message)


async def _awake(mind: LanguageModel | None, remarks: list[str]) -> LanguageModel | None:
    """Have a foreign model loaded; why one stays away is remarked here once, and noted by each decision."""
    why = mind.why if isinstance(mind, WithheldMind) else ""
    if mind is not None and not isinstance(mind, OwnMind | WithheldMind):
        mind = WatchedMind(mind)
        try:
            await mind.wake()
        except ModelError as failure:
            why = failure.message
    if why:
        remarks.append(f"the language model does not take part: {why}")
    return mind


def _facts(installation: Installation) -> contextlib.AbstractAsyncContextManager[tuple[Settings, Recorded]]:
    if installation.settings.database_url is None and not installation.paths.database.exists():
        return contextlib.nullcontext((installation.settings, nothing_recorded))
    from conductor.app.minds.stored_facts import stored_facts

    return stored_facts(installation)
