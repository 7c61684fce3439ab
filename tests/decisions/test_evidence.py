import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decisions.arrangement import START_UNIX_S

from conductor.decisions.evidence import DEVICES, Evidence, gather, weigh_devices
from conductor.decisions.memory import Memory
from conductor.domain.device import DeviceType

GPU, CPU = DeviceType.GPU, DeviceType.CPU
PRIOR = np.array([0.60, 0.10, 0.05, 0.03, 0.02, 0.20])


def a_memory(
    *, successes: int = 0, failures: int = 0, ideal: DeviceType = GPU, ran_on: DeviceType = GPU, log_s: float = 1.0
) -> Memory:
    memory = Memory(description="a", signature="s", device=ideal, available_device=ran_on, task_id="t0")
    memory.successes, memory.failures, memory.at_unix_s = successes, failures, START_UNIX_S
    memory.log_durations.extend([log_s] * min(successes, 16))
    return memory


def weighed(*memories: Memory, cosine: float = 1.0) -> dict[DeviceType, float]:
    evidence = gather([(memory, cosine) for memory in memories], now_unix_s=START_UNIX_S)
    return dict(zip(DEVICES, weigh_devices(PRIOR, evidence).tolist(), strict=True))


def test_a_device_that_failed_repeatedly_on_similar_tasks_loses_to_the_runner_up() -> None:
    after = weighed(a_memory(failures=3))

    assert after[CPU] > after[GPU]


def test_no_certainty_of_the_classifier_stands_against_seven_failures() -> None:
    certain = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    evidence = gather([(a_memory(failures=7), 1.0)], now_unix_s=START_UNIX_S)

    assert DEVICES[int(np.argmax(weigh_devices(certain, evidence)))] is not GPU


def test_failures_on_dissimilar_tasks_change_nothing() -> None:
    assert weighed(a_memory(failures=9), cosine=0.55)[GPU] == pytest.approx(0.6)


def test_success_on_a_substitute_says_nothing_against_the_ideal_device() -> None:
    assert weighed(a_memory(successes=10, ran_on=CPU))[GPU] == pytest.approx(0.6)


def test_the_device_that_was_faster_gains() -> None:
    fast, slow = a_memory(successes=8, log_s=0.0), a_memory(successes=8, ran_on=CPU, log_s=2.0)

    assert weighed(fast, slow)[GPU] > 0.65
    swapped = weighed(a_memory(successes=8, log_s=2.0), a_memory(successes=8, ran_on=CPU, log_s=0.0))
    assert swapped[GPU] < 0.55


@settings(deadline=None)
@given(successes=st.integers(0, 30), failures=st.integers(0, 30), more=st.integers(1, 10), cosine=st.floats(0.61, 1.0))
def test_more_failures_never_raise_the_share_of_a_device(
    successes: int, failures: int, more: int, cosine: float
) -> None:
    # A place counts for at most thirty runs, so more failures are a place of their own here.
    other = a_memory(successes=successes, failures=failures or 1)

    assert weighed(other, a_memory(failures=more), cosine=cosine)[GPU] <= weighed(other, cosine=cosine)[GPU] + 1e-9


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(DEVICES), st.sampled_from(DEVICES), st.integers(0, 50), st.integers(1, 50)),
        max_size=8,
    )
)
def test_shares_stay_a_distribution_whatever_happened(past: list[tuple[DeviceType, DeviceType, int, int]]) -> None:
    memories = [a_memory(successes=s, failures=f, ideal=ideal, ran_on=ran_on) for ideal, ran_on, s, f in past]
    shares = weighed(*memories, cosine=0.95)

    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in shares.values())


def test_without_memories_the_prior_stands() -> None:
    assert weigh_devices(PRIOR, Evidence()) is PRIOR


def test_an_old_memory_counts_for_less() -> None:
    def runs(age_s: float) -> float:
        return gather([(a_memory(failures=4), 1.0)], now_unix_s=START_UNIX_S + age_s).runs

    assert runs(60 * 86400.0) == pytest.approx(runs(0.0) / 4)
    assert runs(-86400.0) == runs(0.0)
