from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decisions.arrangement import (
    START_UNIX_S,
    FleetOf,
    HashingEncoder,
    StillClock,
    a_fleet,
    a_maker,
    a_task,
    an_outcome,
    live_through,
)

from conductor.domain.decision import Decision
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import InvalidInput
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending
from conductor.domain.task import Submission
from conductor.domain.units import GIB
from conductor.domain.workload import Limits, Workload, WorkProfile

ENCODE = "encode the video clip to h.264 mp4"
TRAIN = "train a neural network model for 20 epochs"
FFMPEG = WorkProfile(signature="command:ffmpeg", sizes={"input_bytes": 1e6})


def test_the_ideal_device_is_named_even_where_the_fleet_has_only_a_substitute(
    encoder: HashingEncoder, clock: StillClock
) -> None:
    decision = a_maker(encoder, clock, a_fleet(DeviceType.CPU)).decide("t1", Submission(description=ENCODE))

    assert (decision.device, decision.available_device) == (DeviceType.VIDEO, DeviceType.CPU)
    assert decision.task_kind is TaskKind.VIDEO_TRANSCODE
    assert "No VIDEO is to be had here" in decision.reasoning


def test_a_fleet_without_any_node_still_gets_a_decision(encoder: HashingEncoder, clock: StillClock) -> None:
    decision = a_maker(encoder, clock, FleetOf([])).decide("t1", Submission(description=ENCODE))

    assert decision.nodes == ()
    assert decision.parts.node_availability == 0.0
    assert "No node can take it" in decision.reasoning


def test_outcomes_overturn_a_device_that_keeps_failing(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock)
    first = maker.decide("t0", Submission(description=ENCODE))
    failed = an_outcome(ending=Ending.EXIT_CODE)
    for number in range(7):
        live_through(maker, ENCODE, failed, task_id=f"t{number}")
    later = maker.decide("t9", Submission(description=ENCODE))

    assert first.device is DeviceType.VIDEO
    assert later.device is not DeviceType.VIDEO
    assert later.confidence < first.confidence


def test_a_similar_description_profits_from_the_experience(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock)
    before = maker.decide("t0", Submission(description=f"{ENCODE} please"))
    for number in range(5):
        live_through(maker, ENCODE, an_outcome(duration_s=3.0), task_id=f"t{number}")
    after = maker.decide("t9", Submission(description=f"{ENCODE} please"))

    assert (before.similar, before.duration_s.source) == ((), "prior")
    assert after.similar[0].description == ENCODE
    assert after.duration_s.value == pytest.approx(3.0)
    assert after.parts.similarity > before.parts.similarity


def test_success_on_a_substitute_does_not_move_the_ideal_device(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock, a_fleet(DeviceType.CPU))
    shares = maker.decide("t0", Submission(description=TRAIN)).device_probabilities
    for number in range(20):
        live_through(maker, TRAIN, an_outcome(), task_id=f"t{number}")

    assert maker.decide("t9", Submission(description=TRAIN)).device_probabilities == shares


def test_the_very_next_decision_knows_the_outcome(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock, a_fleet(DeviceType.CPU))
    live_through(maker, ENCODE, an_outcome(duration_s=2.0, cpu_time_s=3.0), profile=FFMPEG)

    decision = maker.decide("t2", Submission(description=ENCODE), FFMPEG)

    assert decision.duration_s.value == pytest.approx(2.0)
    assert decision.compute_units.value == pytest.approx(1.5)
    assert decision.evidence["estimate_runs"] == 1


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.CANNOT_START])
def test_endings_that_say_nothing_teach_nothing(encoder: HashingEncoder, clock: StillClock, ending: Ending) -> None:
    maker = a_maker(encoder, clock)
    decision = maker.decide("t1", Submission(description=ENCODE))

    assert maker.learn(a_task(decision, ENCODE), an_outcome(ending=ending)) is None
    assert maker.track_record().count == 0


def test_a_failure_teaches_no_duration(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock)
    live_through(maker, ENCODE, an_outcome(ending=Ending.WALL_TIME, duration_s=300.0), profile=FFMPEG)

    assert maker.decide("t2", Submission(description=ENCODE), FFMPEG).duration_s.source == "prior"


def test_success_rates_are_kept_by_device_type_and_by_node(encoder: HashingEncoder, clock: StillClock) -> None:
    maker = a_maker(encoder, clock)
    live_through(maker, ENCODE, an_outcome())
    live_through(maker, ENCODE, an_outcome(ending=Ending.SIGNAL), task_id="t2")

    assert maker.success_rate("VIDEO") == maker.success_rate("desk") == pytest.approx(0.98 / 1.98)
    assert maker.success_rate("GPU") is None


def test_an_attempt_that_is_repeated_teaches_the_node_and_nothing_about_how_the_task_ends(
    encoder: HashingEncoder, clock: StillClock
) -> None:
    maker, untaught = a_maker(encoder, clock), a_maker(encoder, clock)
    decision = maker.decide("t1", Submission(description=ENCODE), FFMPEG)
    maker.learn_attempt(a_task(decision, ENCODE), an_outcome(ending=Ending.SIGNAL, duration_s=500.0), FFMPEG)
    later = maker.decide("t2", Submission(description=ENCODE), FFMPEG)

    assert (maker.success_rate("desk"), maker.success_rate("VIDEO")) == (0.0, None)
    assert maker.track_record().count == 0
    assert later == untaught.decide("t2", Submission(description=ENCODE), FFMPEG)


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.CANNOT_START])
def test_an_attempt_that_says_nothing_teaches_nothing(
    encoder: HashingEncoder, clock: StillClock, ending: Ending
) -> None:
    maker = a_maker(encoder, clock)
    decision = maker.decide("t1", Submission(description=ENCODE))
    maker.learn_attempt(a_task(decision, ENCODE), an_outcome(ending=ending))

    assert maker.success_rate("desk") is None


def test_the_very_next_decision_knows_a_failed_attempt(encoder: HashingEncoder, clock: StillClock) -> None:
    fleet = FleetOf()
    maker = a_maker(encoder, clock, fleet)
    decision = maker.decide("t1", Submission(description=ENCODE), FFMPEG)
    maker.learn_attempt(a_task(decision, ENCODE), an_outcome(ending=Ending.EXIT_CODE), FFMPEG)
    maker.decide("t2", Submission(description=ENCODE), FFMPEG)
    forecast = fleet.needs[-1].forecast

    assert fleet.needs[0].forecast is None
    assert forecast is not None
    assert forecast.node_ids == ("desk",)
    assert forecast.success[0] < forecast.elsewhere_success


def everything_but_identity(decision: Decision) -> Decision:
    return replace(decision, task_id="", decided_at_unix_s=0.0)


def test_a_repeated_decision_is_reused_with_its_own_id_and_time(encoder: HashingEncoder, clock: StillClock) -> None:
    fleet = FleetOf()
    maker = a_maker(encoder, clock, fleet)
    first = maker.decide("t1", Submission(description=ENCODE), FFMPEG)
    clock.advance(0.1)
    second = maker.decide("t2", Submission(description=ENCODE), FFMPEG)

    assert (second.task_id, second.decided_at_unix_s) == ("t2", START_UNIX_S + 0.1)
    assert everything_but_identity(second) == everything_but_identity(first)
    assert len(fleet.needs) == 1


def test_a_change_of_the_fleet_is_seen_after_a_quarter_of_a_second(encoder: HashingEncoder, clock: StillClock) -> None:
    fleet = a_fleet(DeviceType.CPU)
    maker = a_maker(encoder, clock, fleet)
    maker.decide("t1", Submission(description=ENCODE))
    fleet.nodes = a_fleet(*DeviceType).nodes
    clock.advance(0.26)

    assert maker.decide("t2", Submission(description=ENCODE)).available_device is DeviceType.VIDEO


@pytest.mark.parametrize(
    "other",
    [
        Submission(description=ENCODE, metadata={"priority": 1}),
        Submission(description=ENCODE, metadata={"node": "desk"}),
        Submission(description=ENCODE, metadata={"quantity": 50}),
        Submission(description=ENCODE, metadata={"deadline_unix_s": START_UNIX_S + 60}),
        Submission(description=ENCODE, workload=Workload(kind="command", limits=Limits(memory_bytes=GIB // 8))),
    ],
)
def test_a_request_that_differs_is_not_answered_from_what_is_kept(
    encoder: HashingEncoder, clock: StillClock, other: Submission
) -> None:
    fleet = FleetOf()
    maker = a_maker(encoder, clock, fleet)
    maker.decide("t1", Submission(description=ENCODE))
    maker.decide("t2", other)

    assert len(fleet.needs) == 2


def test_a_pinned_node_and_a_memory_limit_reach_the_fleet(encoder: HashingEncoder, clock: StillClock) -> None:
    fleet = FleetOf()
    limits = Limits(memory_bytes=GIB // 8)
    submission = Submission(
        description=ENCODE, metadata={"node": "desk"}, workload=Workload(kind="command", limits=limits)
    )
    a_maker(encoder, clock, fleet).decide("t1", submission)

    assert (fleet.needs[0].pinned_node, fleet.needs[0].memory_bytes) == (NodeId("desk"), GIB // 8)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"priority": 9}, "metadata.priority"),
        ({"node": 7}, "metadata.node"),
        ({"node": ""}, "metadata.node"),
        ({"quantity": 0}, "metadata.quantity"),
        ({"quantity": "many"}, "metadata.quantity"),
        ({"deadline_unix_s": "tomorrow"}, "metadata.deadline_unix_s"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused_by_name(
    encoder: HashingEncoder, clock: StillClock, metadata: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        a_maker(encoder, clock).decide("t1", Submission(description=ENCODE, metadata=metadata))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_stored_experience_restores_what_was_learned(encoder: HashingEncoder, clock: StillClock) -> None:
    maker, restored = a_maker(encoder, clock), a_maker(encoder, clock)
    experiences = []
    for number in range(12):
        ending = Ending.EXIT_CODE if number % 4 == 3 else Ending.SUCCEEDED
        decision = maker.decide(f"t{number}", Submission(description=ENCODE), FFMPEG)
        learned = maker.learn(a_task(decision, ENCODE), an_outcome(ending=ending, duration_s=1.0 + number / 50), FFMPEG)
        assert learned is not None
        experiences.append(learned)
    restored.restore(experiences)

    lived = maker.decide("t99", Submission(description=ENCODE), FFMPEG)
    again = restored.decide("t99", Submission(description=ENCODE), FFMPEG)

    assert again.duration_s == lived.duration_s
    assert again.device_probabilities == lived.device_probabilities
    assert again.parts == lived.parts
    assert again.confidence == pytest.approx(lived.confidence, abs=0.01)


ODD_TEXTS = [
    "x",
    "12345",
    "🎬🎬🎬",
    "שלום עולם, להמיר את הסרטון",
    "视频 video فيديو видео",
    "word " * 20_000,
    "\t\n a \r\n",
    "'; DROP TABLE tasks; --",
    "{}[]<script>",
    "a" * 100_000,
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_an_odd_text_gets_a_valid_decision(encoder: HashingEncoder, clock: StillClock, text: str) -> None:
    assert_valid(a_maker(encoder, clock).decide("t1", Submission(description=text)))


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip))
def test_any_text_gets_a_valid_decision_and_always_the_same(text: str) -> None:
    submission = Submission(description=text)
    decision = a_maker(HashingEncoder(), StillClock()).decide("t1", submission)

    assert_valid(decision)
    assert decision == a_maker(HashingEncoder(), StillClock()).decide("t1", submission)


def assert_valid(decision: Decision) -> None:
    shares = dict(decision.device_probabilities)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert decision.device is max(shares, key=lambda device: shares[device])
    assert decision.runner_up is not decision.device
    assert 2 <= decision.priority <= 5
    assert 0.0 <= decision.confidence <= 1.0
    for estimate in (decision.duration_s, decision.compute_units):
        assert 0.0 < estimate.low <= estimate.value <= estimate.high
    assert decision.reasoning.count(". ") + 1 >= 2
