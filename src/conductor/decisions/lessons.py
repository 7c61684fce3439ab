"""Take in what came of decisions: similar work, success, confidence, habits, speeds and reliability of nodes.

`outcome` takes the end of a task, `failed_attempt` one that is followed by another. Of a failed attempt only its node can
learn: what was stated with the decision (device, duration, confidence) is about how the task ends, further attempts
included, and is judged once, by that.

One thread only, microseconds each. What an ending says at all is decided in `experience`, what the lessons mean for a
decision in `recommend`. Not covered: failed attempts of tasks that were cancelled afterwards; a restart forgets them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from conductor.decisions.calibration import Calibration
from conductor.decisions.confidence import SuccessRates
from conductor.decisions.corrected import CorrectedPriorities
from conductor.decisions.estimate import Estimator
from conductor.decisions.habits import Habits
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Experience, FailedAttempt
from conductor.domain.device import DeviceType

_RUNS_OF_FULL_WEIGHT: Final = 20


class Lessons:
    """Everything that outcomes taught; decisions read the parts.

    Args:
        memory: past tasks.
    """

    def __init__(self, memory: ExperienceMemory) -> None:
        self.memory = memory
        self.estimator = Estimator()
        self.rates = SuccessRates()
        self.habits = Habits()
        self.calibration = Calibration()
        self.priorities = CorrectedPriorities()

    def outcome(self, experience: Experience, *, raw: float, failed_before: int = 0) -> bool:
        """Learn how one task ended; returns whether it changes anything that anyone could see.

        The thousandth success of the same task does not; the first ones, every failure and every success that took more
        than one attempt do, and then a tenth more.

        Args:
            raw: the confidence of its decision before correction, in 0–1.
            failed_before: how many of its attempts failed before the last one.
        """
        runs = self.memory.remember(experience)
        self.rates.observe(experience.available_device, succeeded=experience.succeeded)
        self.rates.observe(experience.node_id, succeeded=experience.succeeded)
        self.calibration.observe(
            raw=raw,
            stated=experience.confidence,
            succeeded=experience.succeeded,
            weight=min(1.0, _RUNS_OF_FULL_WEIGHT / max(runs, 1)),
        )
        if experience.node_id:
            self.estimator.attempted(
                signature=experience.signature,
                device=experience.available_device,
                node_id=experience.node_id,
                succeeded=experience.succeeded,
                at_unix_s=experience.at_unix_s,
                failed_before=failed_before,
            )
        if experience.succeeded and experience.signature:
            self.habits.observe(experience.signature, experience.device)
            self.estimator.observe(
                signature=experience.signature,
                device=experience.available_device,
                sizes=experience.sizes,
                duration_s=experience.duration_s,
                compute_units=experience.compute_units,
                predicted_s=experience.predicted_duration_s,
                node_id=experience.node_id,
            )
        smooth = experience.succeeded and not failed_before
        return not smooth or runs < _RUNS_OF_FULL_WEIGHT or runs % (runs // 10) == 0

    def failed_attempt(self, attempt: FailedAttempt, *, device: DeviceType, signature: str, failed_before: int) -> None:
        """Learn from an attempt that failed and is to be repeated; see `outcome` for `failed_before`.

        Args:
            device: the type it ran on.
        """
        self.rates.observe(attempt.node_id, succeeded=False)
        self.estimator.attempted(
            signature=signature,
            device=device,
            node_id=attempt.node_id,
            succeeded=False,
            at_unix_s=attempt.at_unix_s,
            failed_before=failed_before,
        )

    def restore(self, experiences: Iterable[Experience]) -> None:
        """Take in stored experiences, oldest first, and the failed attempts before them, as if they happened now."""
        for experience, number in _in_order(list(experiences)):
            if number is not None:
                self.failed_attempt(
                    experience.failed_attempts[number],
                    device=experience.available_device,
                    signature=experience.signature,
                    failed_before=number,
                )
                continue
            self.outcome(
                experience,
                raw=self.calibration.raw(experience.confidence),
                failed_before=len(experience.failed_attempts),
            )
            # Fits the map, as the decision after this one once did, so that the next stated value is undone rightly.
            self.calibration.confidence(experience.confidence)


def _in_order(experiences: Sequence[Experience]) -> list[tuple[Experience, int | None]]:
    """Ends of tasks in the order given, and their failed attempts, by number, in between as they happened."""
    steps: list[tuple[float, int, int]] = []
    latest_s = float("-inf")
    for place, experience in enumerate(experiences):
        latest_s = max(latest_s, experience.at_unix_s)  # a clock that jumped back changes no order
        failed = experience.failed_attempts
        steps += [(min(attempt.at_unix_s, latest_s), place, number) for number, attempt in enumerate(failed)]
        steps.append((latest_s, place, len(failed)))
    return [
        (experiences[place], number if number < len(experiences[place].failed_attempts) else None)
        for _, place, number in sorted(steps)
    ]
