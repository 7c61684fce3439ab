"""Remember past tasks by what their descriptions mean, and find those nearest to a new one.

A bounded ring of unit vectors; nearest means highest cosine. Runs of the same description on the same kind of device
share one place and are counted there, so a task repeated a million times does not push everything else out.
What the found memories mean for a decision is `evidence`; how long work takes is `estimate`.

Covered: growth on demand, replacement of the oldest place, results that are kept and only brought up to date.
Not covered: embeddings of another encoder (a different width starts an empty memory; `restore` leaves them out).
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from conductor.decisions.ports import Experience, FloatArray
from conductor.domain.device import DeviceType

_FIRST_PLACES: Final = 256
_DURATIONS: Final = 16
_Key = tuple[str, str, DeviceType, DeviceType]


@dataclass(slots=True, kw_only=True)
class Memory:
    """One place of the ring: what equal experiences have in common, the latest of them, and how they went.

    `duration_s` and `succeeded` are those of the latest run; `log_durations` those of the last successes.
    """

    description: str
    signature: str
    device: DeviceType
    available_device: DeviceType
    task_id: str = ""
    node_id: str = ""
    succeeded: bool = False
    duration_s: float = 0.0
    at_unix_s: float = 0.0
    successes: int = 0
    failures: int = 0
    log_durations: deque[float] = field(default_factory=lambda: deque(maxlen=_DURATIONS))

    def add(self, experience: Experience) -> None:
        """Count one more run."""
        self.task_id = experience.task_id
        self.node_id = experience.node_id
        self.succeeded = experience.succeeded
        self.duration_s = experience.duration_s
        self.at_unix_s = experience.at_unix_s
        if experience.succeeded:
            self.successes += 1
            self.log_durations.append(math.log(max(experience.duration_s, 1e-6)))
        else:
            self.failures += 1


@dataclass(frozen=True, slots=True)
class Nearest:
    """The places nearest to an embedding, with the count of insertions at which they were found."""

    places: tuple[int, ...] = ()
    as_of: int = 0


class ExperienceMemory:
    """The ring. One thread writes; others may search meanwhile, and what they find is checked again by `recall`.

    Args:
        width: length of the embeddings.
        places: how many different experiences are kept; 10,000 of 384 numbers take 15 MB when full.
        neighbours: how many places a search returns.
    """

    def __init__(self, *, width: int, places: int = 10_000, neighbours: int = 16) -> None:
        self._width = width
        self._capacity = places
        self._neighbours = neighbours
        self._vectors: FloatArray = np.zeros((min(_FIRST_PLACES, places), width), dtype=np.float32)
        self._memories: list[Memory] = []
        self._place_of: dict[_Key, int] = {}
        self._inserted = 0

    def __len__(self) -> int:
        return len(self._memories)

    def remember(self, experience: Experience) -> int:
        """Take one experience; it is found from now on.

        Returns:
            How many runs its place stands for now; 0 when the embedding is of another width and was left out.
        """
        if experience.embedding.shape != (self._width,):
            return 0
        key = _key(experience)
        place = self._place_of.get(key)
        if place is None:
            place = self._new_place(experience)
            self._place_of[key] = place
        memory = self._memories[place]
        memory.add(experience)
        return memory.successes + memory.failures

    def _new_place(self, experience: Experience) -> int:
        place = self._inserted % self._capacity
        if place == len(self._vectors):
            grown = np.zeros((min(2 * place, self._capacity), self._width), dtype=np.float32)
            grown[:place] = self._vectors
            self._vectors = grown
        self._vectors[place] = experience.embedding
        memory = Memory(
            description=experience.description,
            signature=experience.signature,
            device=experience.device,
            available_device=experience.available_device,
        )
        if place < len(self._memories):
            del self._place_of[_key(self._memories[place])]
            self._memories[place] = memory
        else:
            self._memories.append(memory)
        self._inserted += 1
        return place

    def nearest(self, embedding: FloatArray, known: Nearest | None = None) -> Nearest:
        """Find the nearest places, looking only at what was inserted since `known` was found, if it is given.

        Args:
            embedding: float32 [width], of unit length.
            known: an earlier answer for the same embedding.
        """
        known = known or Nearest()
        inserted = self._inserted
        if known.as_of == inserted:
            return known
        if inserted - known.as_of >= self._capacity or not known.places:
            candidates: npt.NDArray[np.intp] = np.arange(min(inserted, self._capacity))
        else:
            fresh = np.arange(known.as_of, inserted) % self._capacity
            candidates = np.unique(np.concatenate([fresh, np.asarray(known.places, dtype=np.intp)]))
        whole = len(candidates) == min(inserted, self._capacity)
        vectors = self._vectors[: len(candidates)] if whole else self._vectors[candidates]
        similarities = vectors @ embedding
        if len(candidates) > self._neighbours:
            top = np.argpartition(-similarities, self._neighbours)[: self._neighbours]
        else:
            top = np.arange(len(candidates))
        order = top[np.argsort(-similarities[top], kind="stable")]
        return Nearest(tuple(int(place) for place in candidates[order]), inserted)

    def recall(self, embedding: FloatArray, nearest: Nearest) -> Sequence[tuple[Memory, float]]:
        """The memories at the places found, each with its cosine in -1–1, nearest first."""
        if not nearest.places:
            return ()
        similarities = (self._vectors[list(nearest.places)] @ embedding).tolist()
        found = [(self._memories[place], cosine) for place, cosine in zip(nearest.places, similarities, strict=True)]
        return sorted(found, key=lambda pair: -pair[1])


def _key(of: Experience | Memory) -> _Key:
    return (of.description, of.signature, of.device, of.available_device)
