"""Make the decision: join what a description says with what happened before and what the fleet offers.

`prepare` is the slow, blocking part (encoding, once per text) and may run in any thread. `conclude` and `learn` belong
to one thread, the event loop's, and take microseconds to a millisecond. How a decision comes out is
`conclude`'s rule, what outcomes teach is kept by `lessons`. Which node stands where is the fleet's answer (`FleetView`);
queueing and starting the work is scheduling's business.

Covered: repeated descriptions (the whole conclusion is reused for as long as it would come out the same), learning from
every outcome and attempt, starting from stored experience. Not covered: tasks made of several steps.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from conductor.decisions.analyse import Analysis, Analyst
from conductor.decisions.attached import shown_text, text_to_read, texts_to_read
from conductor.decisions.calibration import TrackRecord
from conductor.decisions.conclude import conclude
from conductor.decisions.experience import experience_of, teaches
from conductor.decisions.facts import request_of
from conductor.decisions.lessons import Lessons
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Adjuster, Experience, FailedAttempt, FleetView, LanguageModel, TextEncoder
from conductor.domain.clock import Clock
from conductor.domain.decision import Decision
from conductor.domain.outcome import Outcome
from conductor.domain.task import Submission, Task
from conductor.domain.workload import WorkProfile

#: For so long a conclusion is reused although the fleet may have moved; placement looks again anyway.
_REUSED_FOR_S: Final = 0.25
_CONCLUSIONS: Final = 1024


class DecisionMaker:
    """Decides, and learns from what came of it.

    Args:
        encoder: turns descriptions into embeddings and class probabilities.
        fleet: ranks nodes for a need.
        memory: past tasks; of the encoder's width.
        clock: for recency, deadlines and the stamp on decisions.
        language_model: takes part in reading descriptions when there is one.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        fleet: FleetView,
        memory: ExperienceMemory,
        clock: Clock,
        language_model: LanguageModel | None = None,
    ) -> None:
        self._analyst = Analyst(encoder, language_model)
        self._fleet = fleet
        self._lessons = Lessons(memory)
        self._clock = clock
        self._conclusions: OrderedDict[Hashable, tuple[Decision, float]] = OrderedDict()

    def known(self, text: str) -> Analysis | None:
        """The kept analysis of a description, at once; None when `prepare` has to read it."""
        return self._analyst.known(text)

    def prepare(self, texts: Sequence[str]) -> list[Analysis]:
        """Read descriptions (`texts_to_read`) and look for similar past tasks; blocking, thread-safe, one batch."""
        analyses = self._analyst.analyse(texts)
        for analysis in analyses:
            if not analysis.nearest.places:
                analysis.nearest = self._lessons.memory.nearest(analysis.embedding)
        return analyses

    def untuned(self, texts: Sequence[str]) -> list[Analysis]:
        """What the models say without a tuned version; blocking, thread-safe."""
        return self._analyst.untuned(texts)

    def retune(self, adjuster: Adjuster | None, remark: str = "") -> None:
        """Let another tuned version, or none, take part in decisions from now on; decisions note a `remark`."""
        self._analyst.retune(adjuster, remark)
        self._conclusions.clear()

    def decide(self, task_id: str, submission: Submission, profile: WorkProfile | None = None) -> Decision:
        """`prepare` and `conclude` in one; blocking when the description is new.

        Raises:
            InvalidInput: the metadata names an impossible priority, deadline, node or quantity.
        """
        return self.conclude(task_id, submission, self.prepare(texts_to_read([submission]))[0], profile)

    def conclude(
        self, task_id: str, submission: Submission, analysis: Analysis, profile: WorkProfile | None = None
    ) -> Decision:
        """Decide a task whose description has been read; so should be its `shown_text`, or that takes no part.

        Raises:
            InvalidInput: the metadata names an impossible priority, deadline, node or quantity.
        """
        text = shown_text(submission)
        request = request_of(submission, analysis, profile, self._analyst.known(text) if text else None)
        now_s = self._clock.monotonic_s()
        known = self._conclusions.get(request.key) if request.key is not None else None
        if known is not None and 0 <= now_s - known[1] < _REUSED_FOR_S:
            return replace(known[0], task_id=task_id, decided_at_unix_s=self._clock.now_unix_s())
        decision = conclude(task_id, request, self._lessons, self._fleet, now_unix_s=self._clock.now_unix_s())
        if request.key is not None:
            self._conclusions[request.key] = (decision, now_s)
            if len(self._conclusions) > _CONCLUSIONS:
                self._conclusions.popitem(last=False)
        return decision

    def learn(self, task: Task, outcome: Outcome, profile: WorkProfile | None = None) -> Experience | None:
        """Take in what came of a decision; later ones know it at once.

        Reads the description again, blocking, when its analysis is no longer kept.

        Returns:
            The experience to store; None when there is nothing to learn (no decision, cancelled, could not start), or
            nothing that a later start would miss (one more success of what succeeded many times).
        """
        decision = task.decision
        if decision is None or not teaches(outcome):
            return None
        text = text_to_read(task.submission)
        analysis = self._analyst.known(text) or self._analyst.analyse([text])[0]
        request = request_of(task.submission, analysis, profile)
        experience = experience_of(decision, outcome, request)
        raw = decision.evidence.get("raw_confidence")
        raw = raw if isinstance(raw, float) else self._lessons.calibration.raw(decision.confidence)
        telling = self._lessons.outcome(experience, raw=raw, failed_before=max(task.attempt - 1, 0))
        if telling:
            self._conclusions.clear()
        return experience if telling else None

    def learn_attempt(self, task: Task, outcome: Outcome, profile: WorkProfile | None = None) -> None:
        """Take in an attempt that failed and is to be repeated; how the task ends is yet to come, for `learn`."""
        if teaches(outcome):
            ended_at_s = outcome.started_at_unix_s + outcome.duration_s
            attempt = FailedAttempt(node_id=outcome.node_id, at_unix_s=ended_at_s)
            self.restore_attempts(task, [attempt], profile, failed_before=max(task.attempt - 1, 0))

    def restore_attempts(
        self,
        task: Task,
        attempts: Sequence[FailedAttempt],
        profile: WorkProfile | None = None,
        *,
        failed_before: int = 0,
    ) -> None:
        """Take in failed attempts, oldest first, of a task that is not settled; `failed_before` others were known."""
        if task.decision is None:
            return
        for number, attempt in enumerate(attempts, start=failed_before):
            self._lessons.failed_attempt(
                attempt,
                device=task.decision.available_device,
                signature=profile.signature if profile else "",
                failed_before=number,
            )
        self._conclusions.clear()

    def prioritise(self, task_id: str, description: str, priority: int | None) -> None:
        """Let the priority that a person said would have been right count for such work; None takes it back."""
        self._lessons.priorities.say(task_id, description, priority)
        self._conclusions.clear()

    def restore(self, experiences: Iterable[Experience]) -> None:
        """Take in stored experiences, oldest first, as if they happened now one after the other."""
        self._lessons.restore(experiences)
        self._conclusions.clear()

    def success_rate(self, name: str) -> float | None:
        """Recent success rate of a device type or a node, in 0–1; None when nothing ran there yet."""
        successes, failures = self._lessons.rates.runs(name)
        return successes / (successes + failures) if successes + failures else None

    def track_record(self) -> TrackRecord:
        """How the confidences stated so far held up."""
        return self._lessons.calibration.record()
