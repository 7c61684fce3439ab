"""Decide whether a tuned version is worth keeping: better on what it has not seen, and nothing forgotten.

It is kept only if, on the hold-out, its log loss is lower by more than one standard error of the difference and it is
right at least as often; and if, on the guard texts (general work that every installation must get right), it is right
nearly as often as before (within a hundredth and one standard error: they are a hundred or so) and no less sure of it.

Contradicting labels need a rule of their own. A fit to them learns to be unsure, which pays on a hold-out that contradicts
itself as well; but there it does no better than a die, `ln 6` nats, and what is not better by a standard error is refused.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from conductor.decisions.tuning import Matrix, log_losses
from conductor.domain.device import DeviceType

_MOST_FORGOTTEN: Final = 0.01
_MOST_DOUBT_NATS: Final = 0.1
_A_DIE_NATS: Final = math.log(len(DeviceType))

#: What a person can do now, by what the judgement rests on.
_IF_KEPT: Final = "the next decision uses it; `conductor mind versions` compares, `conductor mind rollback` goes back"
_MORE_WORDS: Final = (
    "nothing changed; if decisions are still wrong here, correct more of those tasks (`conductor tasks correct TASK "
    "--device DEVICE`; what few labels say is easily chance), then tune again; if they are right, nothing is to be done"
)
_LOOK_AGAIN: Final = (
    "nothing changed; see whether like tasks were corrected to different devices, put that right with `conductor tasks "
    "correct TASK --device DEVICE` or take it back with `--withdraw`, then tune again"
)
_MORE_SIDES: Final = (
    "nothing changed; the labels pull all work to one side: also correct tasks of other work, those that were decided "
    "rightly included (`conductor tasks correct TASK --device` with the device they had), then tune again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How good probabilities are on one set of texts; `log_loss` in nats, `right` in 0–1."""

    count: int
    log_loss: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Before and after on both sets, whether the new version is kept, why or why not, and what a person can do now."""

    held_out_before: Figures
    held_out_after: Figures
    guard_before: Figures
    guard_after: Figures
    kept: bool
    because: str
    next_step: str


def figures(probabilities: Matrix, targets: Matrix) -> Figures:
    """Judge probabilities [texts, classes] against what is accepted: rows of `targets` are above 0 there."""
    accepted = targets > 0
    chosen = probabilities.argmax(axis=1)
    # Of several accepted classes any will do: their probabilities count together.
    reached = np.where(accepted, probabilities, 0.0).sum(axis=1)
    return Figures(
        count=len(targets),
        log_loss=float(-np.log(np.maximum(reached, 1e-4)).mean()),
        right=float(accepted[np.arange(len(targets)), chosen].mean()),
    )


def _chance(before: Matrix, after: Matrix, targets: Matrix) -> float:
    """Standard error of the difference in how often two versions are right on the same texts."""
    rows = np.arange(len(targets))
    right = [(targets > 0)[rows, found.argmax(axis=1)] for found in (before, after)]
    return float(np.sqrt(np.count_nonzero(right[0] != right[1])) / len(targets))


def judge(
    *,
    held_out: tuple[Matrix, Matrix],
    guard: tuple[Matrix, Matrix],
    held_out_targets: Matrix,
    guard_targets: Matrix,
) -> Judgement:
    """Compare before and after.

    Args:
        held_out: probabilities [texts, 6] of the version in use, and of the new one.
        guard: the same on the guard texts.
        held_out_targets: [texts, 6], 1 at the device that would have been right.
        guard_targets: [texts, 6], above 0 at every accepted device.
    """
    before, after = (figures(found, held_out_targets) for found in held_out)
    guard_before, guard_after = (figures(found, guard_targets) for found in guard)
    losses = log_losses(held_out[1], held_out_targets)
    gains = log_losses(held_out[0], held_out_targets) - losses
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    doubt = float(losses.std(ddof=1) / np.sqrt(len(losses)))
    because, next_step = "", _IF_KEPT
    if float(gains.mean()) <= error:
        next_step = _MORE_WORDS
        because = (
            f"its log loss on the hold-out is not clearly lower (gain {gains.mean():.3f}, standard error {error:.3f})"
        )
    elif after.right < before.right:
        next_step = _MORE_WORDS
        because = f"it is right less often on the hold-out ({after.right:.1%} instead of {before.right:.1%})"
    elif after.log_loss + doubt >= _A_DIE_NATS:
        next_step = _LOOK_AGAIN
        because = (
            f"it hardly knows more of the hold-out than a die (log loss {after.log_loss:.3f}, a die's {_A_DIE_NATS:.3f}): "
            "the labels seem to contradict each other"
        )
    elif guard_before.right - guard_after.right >= _MOST_FORGOTTEN + _chance(*guard, guard_targets):
        next_step = _MORE_SIDES
        because = f"it forgets general work (right {guard_after.right:.1%} instead of {guard_before.right:.1%})"
    elif guard_after.log_loss - guard_before.log_loss > _MOST_DOUBT_NATS:
        next_step = _LOOK_AGAIN
        because = (
            "it only learned to be unsure "
            f"(log loss on general work {guard_after.log_loss:.3f} instead of {guard_before.log_loss:.3f})"
        )
    return Judgement(
        held_out_before=before,
        held_out_after=after,
        guard_before=guard_before,
        guard_after=guard_after,
        kept=not because,
        because=because or "it is better on texts that it has not seen, and forgot nothing",
        next_step=next_step,
    )
