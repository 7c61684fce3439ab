"""The workload `noop`: does nothing and gives back `value`. For benchmarks and for checking that the road is open."""

from conductor.adapters.workloads import fields
from conductor.domain.clock import Clock
from conductor.domain.json import JsonObject
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Task
from conductor.domain.workload import WorkProfile
from conductor.scheduling.ports import OutputListener

_PROFILE = WorkProfile(signature="noop")


class NoopKind:
    """Succeeds at once, in this process."""

    name = "noop"
    executes_code = False
    runs_inline = True

    def __init__(self, *, node_id: NodeId, clock: Clock) -> None:
        self._node_id, self._clock = node_id, clock

    def check(self, spec: JsonObject) -> JsonObject:
        """See `WorkloadKind.check`."""
        fields.refuse_unknown(spec, ("value",))
        return spec

    def profile(self, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        return _PROFILE

    def inline(self, task: Task) -> Outcome:
        """The outcome, at once."""
        workload = task.submission.workload
        assert workload is not None
        return Outcome(
            ending=Ending.SUCCEEDED,
            message="nothing was to be done",
            node_id=self._node_id,
            started_at_unix_s=self._clock.now_unix_s(),
            duration_s=0.0,
            result=workload.spec.get("value"),
            confinement="in-process",
        )

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """The same."""
        return self.inline(task)
