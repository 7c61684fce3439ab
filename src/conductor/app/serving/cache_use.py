"""What a caller wants of kept answers, and what became of it: `Cache-Control` of a request, and the headers of its answer.

Not covered: what is kept, and which answers may be (`kept_answers`).
"""

from dataclasses import dataclass, field
from typing import Final

_HIT: Final = "hit"
_MISS: Final = "miss"
_BYPASS: Final = "bypass"


@dataclass(slots=True)
class CacheUse:
    """What a caller wants of the cache, and what became of it.

    Args:
        looks: False asks the model at any rate.
        keeps: whether the answer may be kept for others.
    """

    looks: bool = True
    keeps: bool = True
    _outcomes: set[str] = field(default_factory=set)
    _age_s: float = 0.0

    @classmethod
    def of(cls, cache_control: str) -> "CacheUse":
        """As the header `Cache-Control` says it (RFC 9111): `no-cache` asks anew, `no-store` keeps nothing either."""
        said = {word.strip().lower() for word in cache_control.split(",")}
        return cls(looks=not said & {"no-cache", "no-store"}, keeps="no-store" not in said)

    def found(self, age_s: float) -> None:
        """Something was known, since so long."""
        self._outcomes.add(_HIT)
        self._age_s = max(self._age_s, age_s)

    def missed(self) -> None:
        """Something was looked for and not known."""
        self._outcomes.add(_MISS)

    def passed(self) -> None:
        """A model was asked without looking."""
        self._outcomes.add(_BYPASS)

    @property
    def outcome(self) -> str:
        """`hit` where everything was known, `miss` where something was not, `bypass` where a model was asked at any rate."""
        return next((one for one in (_MISS, _BYPASS, _HIT) if one in self._outcomes), _BYPASS)

    def headers(self) -> dict[str, str]:
        """What the answer says of it; `Age` in whole seconds, of the oldest part."""
        age = {"Age": str(int(self._age_s))} if self.outcome == _HIT else {}
        return {"X-Conductor-Cache": self.outcome, **age}
