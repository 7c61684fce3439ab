"""The simulator behind the figures for learning: the same world for all, an oracle worth the name, regret as defined."""

import pytest
from benchmarks.learning import WINDOW, by_window, read_texts
from benchmarks.policies import BestFixed, LeastConnections, Oracle, Ours, ReadBefore, RoundRobin
from benchmarks.simulator import KINDS, TASKS, make_fleet, make_jobs, simulate

TEXTS = {kind: [f"some {kind} work"] for kind in KINDS}


def completed_s(seed: int, policy: type[Oracle]) -> list[float]:
    fleet = make_fleet(seed)
    return simulate(seed, make_jobs(seed, TEXTS), fleet, policy(fleet))


def test_the_same_seed_is_the_same_world_and_another_is_not() -> None:
    assert completed_s(1, Oracle) == completed_s(1, Oracle)
    assert completed_s(1, Oracle) != completed_s(2, Oracle)


@pytest.mark.parametrize("policy", [RoundRobin, LeastConnections, BestFixed])
def test_nobody_who_knows_less_is_better_than_the_oracle_over_all_tasks(policy: type[Oracle]) -> None:
    best, other = (sum(sum(completed_s(seed, each)) for seed in range(4)) for each in (Oracle, policy))

    assert other > best


def test_every_task_is_done_and_takes_time() -> None:
    assert min(completed_s(3, RoundRobin)) > 0.0


def test_regret_is_the_extra_share_of_the_oracles_time_in_each_window() -> None:
    assert by_window([2.0] * 100 + [1.5] * 100, [1.0] * 200) == [pytest.approx(100.0), pytest.approx(50.0)]


def test_ours_learns() -> None:
    """Two worlds with fewer sentences: the last third of the tasks shows less regret than the first, and less than half
    of what an even spread of work shows."""
    texts = {kind: sentences[:6] for kind, sentences in read_texts().items()}
    encoder = ReadBefore([text for kind in texts.values() for text in kind])
    ours, spread = [], []
    for seed in (1, 2):
        fleets = [make_fleet(seed) for _ in range(3)]
        jobs = make_jobs(seed, texts)
        policies = [Oracle(fleets[0]), Ours(fleets[1], encoder), LeastConnections(fleets[2])]
        best, mine, even = (simulate(seed, jobs, f, policy) for f, policy in zip(fleets, policies, strict=True))
        ours.append(by_window(mine, best))
        spread.append(by_window(even, best))

    assert sum(each[-1] for each in ours) < sum(each[0] for each in ours) / 2
    assert sum(each[-1] for each in ours) < sum(each[-1] for each in spread) / 2
    assert len(ours[0]) == TASKS // WINDOW
