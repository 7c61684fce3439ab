"""Where a model could go, given all that is in memory or on its way there; and the refusal where it could not.

Plain functions over the residents, without waiting. Who gives way is `swapping`, when is decided there too.
"""

from collections.abc import Iterable, Mapping, Sequence

from conductor.domain.errors import Exhausted
from conductor.domain.units import format_bytes
from conductor.serving.lifetimes.residence import Resident
from conductor.serving.lifetimes.swapping import Plan, plan_room


def busy_devices(residents: Iterable[Resident]) -> set[str]:
    """Devices on which something is being loaded or unloaded, or it is being found out whether it is dead."""
    busy = set[str]()
    for resident in residents:
        busy.update(resident.busy_on)
        if resident.loaded is not None and resident.loaded.suspect:
            busy.update(resident.loaded.devices)
    return busy


def unclaimed_bytes(measured: Mapping[str, int], residents: Iterable[Resident]) -> dict[str, int]:
    """What is free and spoken for by no load under way and no cache that is still to fill, by device."""
    free = dict(measured)
    for resident in residents:
        claimed = resident.loaded.still_to_take_on() if resident.loaded else {}
        for device in resident.busy_on:
            claimed[device] = claimed.get(device, 0) + resident.arriving_bytes // len(resident.busy_on)
        for device, count in claimed.items():
            free[device] = free.get(device, 0) - count
    return free


def plan_for(
    resident: Resident, preferred: Sequence[str], free_bytes: Mapping[str, int], residents: Iterable[Resident]
) -> Plan[Resident] | None:
    """Room for a model whose need is known; None where there is none. A model whose memory is elsewhere needs none."""
    assert resident.expectation is not None, "it was estimated"
    if resident.expectation.bytes == 0:
        return Plan((), ())
    held = [
        other.holding()
        for other in residents
        if other.loaded is not None and not other.busy and set(other.loaded.devices) & set(preferred)
    ]
    return plan_room(resident.expectation.with_margin_bytes, preferred, free_bytes, held)


def too_large(
    resident: Resident, preferred: Sequence[str], free_bytes: Mapping[str, int], residents: Iterable[Resident]
) -> Exhausted:
    """The refusal: what it needs, what is there, what holds the rest, and what can be done."""
    expected = resident.expectation
    assert expected is not None, "it was estimated"
    holders = {
        other.row.title: sum(other.loaded.bytes_on().values())
        for other in residents
        if other.loaded is not None and set(other.loaded.devices) & set(preferred)
    }
    free = {device: max(free_bytes.get(device, 0), 0) for device in preferred}
    found = ", ".join(f"{device} has {format_bytes(count)} free" for device, count in free.items())
    held = ", ".join(f"{title} {format_bytes(count)}" for title, count in holders.items())
    remedies = (
        "choose a smaller precision (4-bit) or a smaller model",
        *(["unload one with `conductor models unload`"] if held else []),
        "or split it over several machines",
    )
    return Exhausted(
        f"{resident.row.title} ({resident.key.precision}) needs {format_bytes(expected.bytes)} and "
        f"{format_bytes(expected.margin_bytes)} to spare, but {found or 'there is no device for it'}"
        f"{f'; in memory: {held}' if held else ''}; {', '.join(remedies)}",
        field="model",
        details={
            "reason": "larger_than_memory",
            "needed_bytes": expected.with_margin_bytes,
            "margin_bytes": expected.margin_bytes,
            "free_bytes": free,
            "held_bytes": holders,
        },
    )
