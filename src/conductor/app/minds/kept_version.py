"""Read the tuned version that takes part in decisions, and see that it is the one the ledger knows.

Fitting, keeping and switching versions is `tuning`'s; it and whoever decides without a server read them here.
"""

import asyncio

from conductor.adapters.mind_tuning.versions import SHIPPED, Versions, name_of
from conductor.app.minds.chosen import Recorded
from conductor.decisions.ports import TextEncoder
from conductor.decisions.tuning import Adjustment, TunedMind
from conductor.domain.errors import ConductorError, ModelError


async def kept_version(versions: Versions, encoder: TextEncoder, recorded: Recorded) -> TunedMind | None:
    """The version in use; None if the shipped mind decides as it is.

    Raises:
        ModelError: there is one that may not take part; says which and why.
    """
    name = "the tuned version"
    try:
        number = await asyncio.to_thread(versions.active)
        if number == SHIPPED:
            return None
        name = name_of(number)
        mind = await asyncio.to_thread(read_version, versions, number, encoder)
        known = await recorded(name)
        if known != mind.checksum:
            raise ModelError(f"its SHA-256 is {mind.checksum}, the ledger recorded {known or 'none'}")
    except ConductorError as refusal:
        raise ModelError(f"{name} does not take part, the shipped mind decides: {refusal.message}") from refusal
    return mind


def read_version(versions: Versions, number: int, encoder: TextEncoder) -> TunedMind:
    """One version; blocking.

    Raises:
        ModelError: its files are damaged, or it was fitted to another encoder.
    """
    stored = versions.read(number)
    fitted_to = stored.card.get("encoder", {}).get("sha256")
    if fitted_to != encoder.checksum:
        raise ModelError(f"it was fitted to another encoder (SHA-256 {fitted_to}); run `conductor mind tune` again")
    try:
        adjustment = Adjustment.of(stored.arrays, width=encoder.width)
    except ValueError as foreign:
        raise ModelError(f"version {number} is no tuned mind: {foreign}") from foreign
    return TunedMind(name_of(number), stored.checksum, adjustment)
