"""Learning over many outcomes, with the real decision maker and placement: confidence, failing nodes, slow nodes."""

import random
from dataclasses import replace

import pytest
from tests.decisions.arrangement import HashingEncoder, StillClock, a_task, an_outcome

from conductor.decisions.calibration import Calibration
from conductor.decisions.memory import ExperienceMemory
from conductor.decisions.ports import Experience, FailedAttempt
from conductor.decisions.recommend import DecisionMaker
from conductor.decisions.report import calibration_bins
from conductor.domain.device import Device, DeviceType
from conductor.domain.node import Node, NodeId
from conductor.domain.outcome import Ending
from conductor.domain.task import Submission
from conductor.domain.units import GIB
from conductor.domain.workload import WorkProfile
from conductor.scheduling.place import PlacementTable

SORT = "sort the csv rows of the table"
PROFILE = WorkProfile(signature="command:sort", sizes={"input_bytes": 1e6})


class House:
    """Two like nodes, and work that goes there as decided."""

    def __init__(self) -> None:
        self.clock = StillClock()
        encoder, table = HashingEncoder(), PlacementTable(silence_s=1e9)
        for name in ("desk", "shed"):
            cpu = Device(device_id="cpu", type=DeviceType.CPU, name="cpu", compute_units=8)
            node = Node(
                node_id=NodeId(name),
                hostname=name,
                architecture="x86_64",
                operating_system="Linux",
                logical_cores=8,
                memory_bytes=64 * GIB,
                devices=(cpu,),
            )
            table.upsert(node, heard_at_s=0.0)
        self.maker = DecisionMaker(encoder, table, ExperienceMemory(width=encoder.width), self.clock)
        self.experiences: list[Experience] = []
        self._number = 0

    def run(
        self,
        *,
        seconds: dict[str, float] | None = None,
        failing: frozenset[str] = frozenset(),
        unsteady: frozenset[str] = frozenset(),
    ) -> str:
        """One task, whose first attempt fails on an unsteady node; returns where it ran."""
        self._number += 1
        self.clock.advance(1.0)
        decision = self.maker.decide(f"t{self._number}", Submission(description=SORT), PROFILE)
        node = decision.nodes[0].node_id
        outcome = an_outcome(
            ending=Ending.SIGNAL if node in failing else Ending.SUCCEEDED, duration_s=(seconds or {}).get(node, 10.0)
        )
        outcome = replace(outcome, node_id=node, started_at_unix_s=self.clock.now_unix_s() - outcome.duration_s)
        task = replace(a_task(decision, SORT), attempt=1)
        failed = ()
        if node in unsteady:
            self.maker.learn_attempt(task, replace(outcome, ending=Ending.SIGNAL), PROFILE)
            task = replace(task, attempt=2)
            failed = (FailedAttempt(node_id=node, at_unix_s=self.clock.now_unix_s()),)
        learned = self.maker.learn(task, outcome, PROFILE)
        if learned is not None:
            self.experiences.append(replace(learned, failed_attempts=failed))
        return node

    def goes_to(self) -> str:
        return self.maker.decide("t", Submission(description=SORT), PROFILE).nodes[0].node_id


def test_work_goes_to_the_faster_node_after_a_few_runs_and_the_decision_says_why() -> None:
    house = House()
    went = [house.run(seconds={"desk": 40.0, "shed": 12.0}) for _ in range(20)]
    decision = house.maker.decide("t", Submission(description=SORT), PROFILE)

    assert went[0] == "desk"
    assert went[-15:] == ["shed"] * 15
    assert decision.duration_s.value == pytest.approx(12.0, rel=0.1)
    assert "against done in" in decision.reasoning


def test_a_node_whose_device_fails_loses_the_work_within_three_failures_and_can_come_back() -> None:
    house = House()
    for _ in range(15):
        home = house.run(seconds={"desk": 10.0, "shed": 25.0})
    assert home == "desk"

    after = [house.run(seconds={"desk": 10.0, "shed": 25.0}, failing=frozenset({"desk"})) for _ in range(12)]
    assert after[:4].count("desk") <= 3
    assert after[4:] == ["shed"] * 8

    house.clock.advance(7200.0)
    assert [house.run(seconds={"desk": 10.0, "shed": 25.0}) for _ in range(5)][-1] == "desk"


def test_a_node_where_tasks_need_a_second_attempt_loses_most_of_them_to_one_that_is_hardly_slower() -> None:
    house, seconds = House(), {"desk": 10.0, "shed": 11.5}
    steady = [house.run(seconds=seconds) for _ in range(30)]
    unsteady = [house.run(seconds=seconds, unsteady=frozenset({"desk"})) for _ in range(60)]

    assert steady[-20:].count("desk") == 20
    assert unsteady[-20:].count("desk") < 5


def test_what_repeated_attempts_taught_of_a_node_outlives_a_restart() -> None:
    lived, restarted = House(), House()
    for _ in range(18):  # so few that each is stored
        lived.run(seconds={"desk": 10.0, "shed": 11.5}, unsteady=frozenset({"desk"}))
    restarted.clock.advance(lived.clock.monotonic_s())
    restarted.maker.restore(lived.experiences)
    forgetful = House()
    forgetful.clock.advance(lived.clock.monotonic_s())
    forgetful.maker.restore([replace(each, failed_attempts=()) for each in lived.experiences])

    for name in ("desk", "shed"):
        assert restarted.maker.success_rate(name) == pytest.approx(lived.maker.success_rate(name))
    assert forgetful.maker.success_rate("desk") == 1.0
    assert [house.goes_to() for house in (lived, restarted, forgetful)] == ["shed", "shed", "desk"]


def test_a_success_that_took_several_attempts_is_always_stored() -> None:
    house = House()
    for _ in range(300):
        house.run()
    stored = len(house.experiences)
    for _ in range(5):
        house.run(unsteady=frozenset({"desk", "shed"}))

    assert stored < 300
    assert len(house.experiences) == stored + 5


def test_attempts_of_an_open_task_count_against_their_node_after_a_restart() -> None:
    house = House()
    task = a_task(house.maker.decide("t1", Submission(description=SORT), PROFILE), SORT)
    house.maker.restore_attempts(task, [FailedAttempt(node_id="desk", at_unix_s=house.clock.now_unix_s())], PROFILE)

    assert house.maker.success_rate("desk") == 0.0
    assert house.maker.success_rate("CPU") is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slope", [0.4, 1.8])
def test_the_gap_between_stated_and_seen_falls_as_outcomes_come_in(seed: int, slope: float) -> None:
    """Decisions that are too sure (or not sure enough) by a distortion of their log-odds that nobody knows."""
    draw, calibration = random.Random(seed), Calibration()
    said: list[float] = []
    held: list[bool] = []
    for _ in range(1200):
        raw = draw.uniform(0.05, 0.95)
        odds = (raw / (1 - raw)) ** slope * 0.7
        succeeded = draw.random() < odds / (1 + odds)
        stated = calibration.confidence(raw)
        calibration.observe(raw=raw, stated=stated, succeeded=succeeded)
        said.append(stated)
        held.append(succeeded)

    assert gap(said[-600:], held[-600:]) < 0.06
    assert gap(said[:150], held[:150]) > gap(said[-600:], held[-600:])


def gap(said: list[float], held: list[bool]) -> float:
    return sum(each.count * abs(each.said - each.seen) for each in calibration_bins(said, held)) / len(said)
