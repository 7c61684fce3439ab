"""Say why a task has not started yet: one sentence for people, stable codes for programs.

A task may wait for several reasons at once; they are listed with the one to act on first. What is true at the moment
(place in the line, what the pools lack, what the fleet offers) is collected by the caller and judged here.

The estimate of the time to start assumes that tasks keep being served at the present rate and that none arrive with
more right of way; it is None when something else must happen first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from conductor.domain.decision import Ranking
from conductor.domain.json import JsonObject
from conductor.domain.task import Level
from conductor.domain.units import format_duration
from conductor.scheduling.pools import Shortage
from conductor.scheduling.queue import Ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known about a waiting task; None where it does not apply.

    Args:
        level: the level it waits in.
        ahead: what is served before it.
        shortage: what its node lacked when it was last tried.
        ranking: what the fleet offers for it now.
        retry_in_s: seconds until its next attempt may start.
        attempt: how many attempts it has behind it.
        paused: whether the queue starts nothing at present.
        served_per_s: at what rate tasks are being started.
    """

    level: Level
    ahead: Ahead | None = None
    shortage: Shortage | None = None
    ranking: Ranking | None = None
    retry_in_s: float | None = None
    attempt: int = 0
    paused: bool = False
    served_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One cause of waiting.

    Codes: `queue.paused`, `retry.delay`, `fleet.no_node`, `pool.<name of the pool>`, `queue.ahead`, `next`.
    """

    code: str
    sentence: str
    details: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """All causes, the decisive one first, and when the task should start if that can be told."""

    reasons: tuple[Reason, ...]
    starts_in_s: float | None

    @property
    def sentence(self) -> str:
        """The whole answer for people."""
        text = "; ".join(reason.sentence for reason in self.reasons)
        if self.starts_in_s is None or self.reasons[0].code == "retry.delay":
            return text
        return f"{text}; should start in {format_duration(self.starts_in_s)}"

    def as_json(self) -> JsonObject:
        """The sentence, the reasons with their codes, and the estimate."""
        return {
            "sentence": self.sentence,
            "reasons": [
                {"code": reason.code, "sentence": reason.sentence, "details": reason.details} for reason in self.reasons
            ],
            "starts_in_s": self.starts_in_s,
        }


def why_pending(now: Circumstances) -> Pending:
    """Explain why a task waits; there is always at least one reason."""
    reasons = tuple(_reasons(now)) or (
        Reason(code="next", sentence="it is next and starts as soon as the dispatcher comes to it"),
    )
    return Pending(reasons=reasons, starts_in_s=_starts_in_s(now))


def _reasons(now: Circumstances) -> Iterable[Reason]:
    if now.paused:
        yield Reason(code="queue.paused", sentence="the queue is paused and starts nothing until it is resumed")
    if now.retry_in_s is not None and now.retry_in_s > 0:
        yield Reason(
            code="retry.delay",
            sentence=f"attempt {now.attempt} failed; the next may start in {format_duration(now.retry_in_s)}",
            details={"retry_in_s": round(now.retry_in_s, 3), "attempt": now.attempt},
        )
    if now.ranking is not None and not now.ranking.best:
        yield _no_node(now.ranking)
    if now.shortage is not None:
        yield _lack(now.shortage)
    if now.ahead is not None and now.ahead.tasks > 0:
        yield _behind(now.ahead, now.level)


def _no_node(ranking: Ranking) -> Reason:
    causes = [f"{node.node_id}: {node.rejected_because}" for node in ranking.rejected]
    told = "; ".join(causes[:3]) + (f"; and {len(causes) - 3} more" if len(causes) > 3 else "")
    return Reason(
        code="fleet.no_node",
        sentence=f"no node can take it on {ranking.device} or a substitute ({told or 'no node is known'})",
        details={"device": ranking.device, "rejected": causes},
    )


def _lack(shortage: Shortage) -> Reason:
    details: dict[str, str | int] = {
        "node": shortage.node_id,
        "needed": shortage.needed,
        "free": shortage.free,
        "total": shortage.total,
    }
    if shortage.promised_to is not None:
        details["promised_to"] = shortage.promised_to
    return Reason(code=f"pool.{shortage.pool}", sentence=f"waits for {shortage.pool}: {shortage}", details=details)


def _behind(ahead: Ahead, level: Level) -> Reason:
    higher = sum(tasks for other, tasks in ahead.by_level.items() if other < level)
    same = ahead.by_level.get(level, 0)
    counts = ((higher, "of higher level"), (same, "of the same level"), (ahead.tasks - higher - same, "of lower level"))
    told = ", ".join(f"{count} {words}" for count, words in counts if count)
    return Reason(
        code="queue.ahead",
        sentence=f"{ahead.tasks} task{' is' if ahead.tasks == 1 else 's are'} ahead of it ({told})",
        details={"ahead": ahead.tasks, "by_level": {other.name.lower(): n for other, n in ahead.by_level.items() if n}},
    )


def _starts_in_s(now: Circumstances) -> float | None:
    if now.paused or (now.ranking is not None and not now.ranking.best):
        return None
    if now.retry_in_s is not None and now.retry_in_s > 0 and now.ahead is None:
        return now.retry_in_s
    if now.ahead is None or not now.served_per_s:
        return None
    return (now.ahead.tasks + 1) / now.served_per_s
