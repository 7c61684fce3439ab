"""What the server and the worker of a language model say to each other: one JSON object per line.

Server to worker: `{"id", "texts"}`. Worker to server: first `{"ready": {"name", "checksum"}}` or `{"error"}`, then per
request `{"id", "proposals"}` or `{"id", "error"}`. JSON, so that a worker misled by a model file can lie but not execute.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from conductor.decisions.ports import Proposal
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.units import MIB

#: The longest line either side reads; descriptions are cut by the reader, not here.
LONGEST_LINE: Final = 64 * MIB
_NUMBERS: Final = ("priority", "compute_units", "duration_s")


def line(message: Mapping[str, Any]) -> bytes:
    """A message as a line."""
    return orjson.dumps(message) + b"\n"


def message(line: bytes) -> dict[str, Any]:
    """A line as a message.

    Raises:
        ValueError: it is none.
    """
    found = orjson.loads(line)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004  # one error for whatever is no message
    return found


def plain(proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON data."""
    return {
        "device_probabilities": {device.value: share for device, share in proposal.device_probabilities.items()},
        "task_kind": proposal.task_kind.value,
        "kind_probability": proposal.kind_probability,
        "reason": proposal.reason,
        "cues": list(proposal.cues),
        **{name: getattr(proposal, name) for name in _NUMBERS},
    }


def proposal(data: Mapping[str, Any]) -> Proposal:
    """A proposal from JSON data.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    shares = {DeviceType(name): float(share) for name, share in data["device_probabilities"].items()}
    return Proposal(
        device_probabilities={device: shares[device] for device in DeviceType},
        task_kind=TaskKind(data["task_kind"]),
        kind_probability=float(data["kind_probability"]),
        priority=None if data["priority"] is None else int(data["priority"]),
        compute_units=None if data["compute_units"] is None else float(data["compute_units"]),
        duration_s=None if data["duration_s"] is None else float(data["duration_s"]),
        cues=tuple(map(str, data["cues"])),
        reason=str(data["reason"]),
    )
