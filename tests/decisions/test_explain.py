import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.decisions.arrangement import FleetOf, HashingEncoder, StillClock, a_fleet, a_maker, an_outcome, live_through

from conductor.decisions.explain import explain
from conductor.domain.decision import Decision, NodeScore
from conductor.domain.device import DeviceType
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending
from conductor.domain.task import Submission
from conductor.domain.units import format_duration
from conductor.domain.workload import WorkProfile

ENCODE = "encode the video clip to h.264 mp4"
FFMPEG = WorkProfile(signature="command:ffmpeg", sizes={"input_bytes": 1e6})
TWO_NODES = [
    ("attic", frozenset(DeviceType), 0.4),
    ("desk", frozenset(DeviceType), 0.9),
    ("cellar", frozenset({DeviceType.CPU}), 1.0),
]


def decisions(encoder: HashingEncoder, clock: StillClock) -> Iterator[Decision]:
    """Decisions that rest on different things."""
    cold = a_maker(encoder, clock)
    yield cold.decide("t1", Submission(description=ENCODE))
    yield cold.decide("t2", Submission(description="resize 250 photos to 1920x1080, urgent"))
    yield a_maker(encoder, clock, a_fleet(DeviceType.CPU)).decide("t3", Submission(description=ENCODE))
    yield a_maker(encoder, clock, FleetOf([])).decide("t4", Submission(description=ENCODE))
    yield a_maker(encoder, clock, FleetOf(list(TWO_NODES))).decide("t5", Submission(description=ENCODE))
    lived = a_maker(encoder, clock)
    live_through(lived, ENCODE, an_outcome(duration_s=2.5), profile=FFMPEG, task_id="t6")
    yield lived.decide("t7", Submission(description=ENCODE), FFMPEG)
    live_through(lived, f"{ENCODE} now", an_outcome(ending=Ending.EXIT_CODE), profile=FFMPEG, task_id="t8")
    yield lived.decide("t9", Submission(description=ENCODE), FFMPEG)
    yield lived.decide("t10", Submission(description=f"{ENCODE} again"))


def numbers_in(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def numbers_of(decision: Decision) -> set[str]:
    """Every number of a decision in every way it may be written."""
    parts = decision.parts
    estimates = [decision.duration_s, decision.compute_units]
    shares = [share for _, share in decision.device_probabilities] + [task.similarity for task in decision.similar]
    times = [value for estimate in estimates for value in (estimate.value, estimate.low, estimate.high)]
    times += [task.duration_s for task in decision.similar if task.duration_s is not None]
    scores = [node.score for node in decision.nodes] + [
        decision.confidence, parts.similarity, parts.device_success, parts.node_availability,
        parts.resource_availability,
    ]  # fmt: skip
    written = [f"{share * 100:.0f}" for share in shares] + [f"{score:.2f}" for score in scores]
    written += [number for seconds in times for number in numbers_in(format_duration(seconds))]
    words = [json.dumps(decision.evidence), *(task.description for task in decision.similar)]
    return set(written) | {number for text in words for number in numbers_in(text)}


def test_every_number_in_a_reasoning_stands_in_the_decision(encoder: HashingEncoder, clock: StillClock) -> None:
    for decision in decisions(encoder, clock):
        assert numbers_in(decision.reasoning) <= numbers_of(decision), decision.reasoning


def test_reasonings_differ_with_their_evidence(encoder: HashingEncoder, clock: StillClock) -> None:
    reasonings = [decision.reasoning for decision in decisions(encoder, clock)]

    assert len(set(reasonings)) == len(reasonings)
    assert all(2 <= len(re.findall(r"[.](?: [A-Z]|$)", text)) <= 5 for text in reasonings), reasonings


def test_the_reasoning_names_quantities_substitute_similar_task_and_source(
    encoder: HashingEncoder, clock: StillClock
) -> None:
    _, photos, substitute, nobody, ranked, measured, mixed, similar = (
        decision.reasoning for decision in decisions(encoder, clock)
    )

    assert "250 photos, 1920x1080" in photos
    assert "so a CPU stands in" in substitute
    assert "No node can take it" in nobody
    assert "desk (score 0.88, ahead of attic at 0.73)" in ranked
    assert "the one time this workload ran" in measured
    assert "succeeded on VIDEO in 2.5 s" in mixed
    assert "though another failed" in mixed
    assert "going by similar tasks" in similar


def test_an_explanation_has_a_section_for_each_question(encoder: HashingEncoder, clock: StillClock) -> None:
    *_, mixed, _ = decisions(encoder, clock)
    outcome = an_outcome(duration_s=2.6)

    explanation = explain(mixed, outcome)

    assert [section.title for section in explanation.sections] == [
        "In short",
        "What the description says",
        "Device",
        "Nodes",
        "Priority and estimates",
        "Confidence",
        "Similar past tasks",
        "What came of it",
        "Models that took part",
    ]
    assert "VIDEO" in explanation.text()
    assert "took 2.6 s where 2.5 s was expected" in explanation.text()
    assert json.loads(json.dumps(explanation.as_json()))["task_id"] == "t9"


def test_every_device_type_appears_with_its_share(encoder: HashingEncoder, clock: StillClock) -> None:
    decision = next(decisions(encoder, clock))
    device_lines = explain(decision).sections[2].lines

    assert {line.split(":")[0] for line in device_lines} == set(DeviceType)
    assert device_lines[0].endswith("← chosen")


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        ((0.9997, 0.0002, 0.0001), ["> 99.9 %", "< 0.1 %", "< 0.1 %"]),
        ((0.9951, 0.0043, 0.0006), ["99.5 %", "0.4 %", "< 0.1 %"]),
        ((0.7, 0.29, 0.01), ["70 %", "29 %", "1 %"]),
        ((1.0, 0.0, 0.0), ["> 99.9 %", "< 0.1 %", "< 0.1 %"]),
    ],
)
def test_no_device_is_shown_as_certain_or_as_impossible(
    encoder: HashingEncoder, clock: StillClock, shares: tuple[float, ...], shown: list[str]
) -> None:
    decision = next(decisions(encoder, clock))
    devices = (decision.device, decision.runner_up, DeviceType.GPU)
    unsure = replace(decision, device_probabilities=tuple(zip(devices, shares, strict=True)))

    lines = explain(unsure).sections[2].lines

    assert [re.sub(r" ←.*", "", line.split(": ")[1]) for line in lines[:3]] == shown


def a_node(name: str, *, thermal: float, queue: float, capability: float, history: float) -> NodeScore:
    score = 0.4 * thermal + 0.3 * queue + 0.2 * capability + 0.1 * history
    return NodeScore(
        node_id=NodeId(name), score=score, thermal=thermal, queue=queue, capability=capability, history=history
    )


@pytest.fixture
def two_nodes(encoder: HashingEncoder, clock: StillClock) -> Decision:
    return a_maker(encoder, clock, FleetOf(list(TWO_NODES))).decide("t1", Submission(description=ENCODE))


def test_a_node_that_lost_is_told_what_would_have_made_it_win(two_nodes: Decision) -> None:
    lines = "\n".join(next(section for section in explain(two_nodes).sections if section.title == "Nodes").lines)

    # attic has 0.4 of its queue free and desk 0.9; nothing else differs between them.
    assert "0.150 behind, mostly by queue; it would have won with queue above 0.90" in lines
    assert "cellar: not a candidate, has no free VIDEO" in lines


def test_the_change_that_is_named_really_makes_the_node_win(two_nodes: Decision) -> None:
    lines = "\n".join(explain(two_nodes).sections[3].lines)
    attic = two_nodes.nodes[1]
    needed = [float(value) for value in re.findall(r"queue above (\d\.\d+)", lines)]

    changed = a_node(
        "attic", thermal=attic.thermal, queue=needed[0] + 0.01, capability=attic.capability, history=attic.history
    )
    assert changed.score > two_nodes.nodes[0].score
