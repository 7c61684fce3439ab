"""Take in what came of decisions: similar work, success, confidence, habits, speeds and reliability of nodes.

`outcome` takes the end of a task, `failed_attempt` one that is followed by another. Of a failed attempt only its node can
learn: what was stated with the decision (device, duration, confidence) is about how the task ends, further attempts
included, and is judged once, by that.

One thread only, microseconds each. What an ending says at all is decided in `experience`, what the lessons mean for a
decision in `recommend`. Not covered: keeping failed attempts over a restart; a node is believed repaired soon anyway.
"""

from collections.abc import Iterable
from typing import Final

from conductor.decisions.calibration import Calibration
from conductor.decisions.confidence import SuccessRates
from conductor.decisions.estimate import Estimator
from conductor.decisions.habits import Habits
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Experience
from conductor.domain.decision import Decision
from conductor.domain.outcome import Outcome

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

    def outcome(self, experience: Experience, *, raw: float, failed_before: int = 0) -> bool:
        """Learn how one task ended; returns whether it changes anything that anyone could see.

        The thousandth success of the same task does not; the first ones and every failure do, and then a tenth more.

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
        return not experience.succeeded or runs < _RUNS_OF_FULL_WEIGHT or runs % (runs // 10) == 0

    def failed_attempt(self, decision: Decision, outcome: Outcome, *, signature: str, failed_before: int) -> None:
        """Learn from an attempt that failed and is to be repeated; see `outcome` for `failed_before`."""
        self.rates.observe(outcome.node_id, succeeded=False)
        self.estimator.attempted(
            signature=signature,
            device=decision.available_device,
            node_id=outcome.node_id,
            succeeded=False,
            at_unix_s=outcome.started_at_unix_s + outcome.duration_s,
            failed_before=failed_before,
        )

    def restore(self, experiences: Iterable[Experience]) -> None:
        """Take in stored experiences, oldest first, as if they happened now one after the other."""
        for experience in experiences:
            self.outcome(experience, raw=self.calibration.raw(experience.confidence))
            # Fits the map, as the decision after this one once did, so that the next stated value is undone rightly.
            self.calibration.confidence(experience.confidence)
